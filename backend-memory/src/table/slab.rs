//! Memory for segments of the full size.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::segment::HEADER_SIZE;

/// Chunks grow to the size of a huge page, and are then aligned to it.
const HUGE: usize = 2 << 20;
const PAGE: usize = 4 << 10;

/// Blocks of one size, carved from chunks that are given back when the slab is dropped.
///
/// A table and its snapshots share it: what a snapshot held returns to the free list, from any thread.
pub(super) struct Slab {
    block: Layout,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    free: Vec<NonNull<u8>>,
    chunks: Vec<Chunk>,
    /// Blocks of the last chunk that were given out at least once.
    carved: usize,
}

struct Chunk {
    at: NonNull<u8>,
    layout: Layout,
    blocks: usize,
}

// SAFETY: the blocks belong to whoever took them; the slab itself never looks into them.
unsafe impl Send for Inner {}

impl Slab {
    /// `block`: layout of a block; its size is a multiple of its alignment.
    pub(super) fn new(block: Layout) -> Self {
        debug_assert!(block.size() >= HEADER_SIZE && block.size().is_multiple_of(block.align()));
        Self { block, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block, uninitialized.
    pub(super) fn take(&self) -> NonNull<u8> {
        let mut inner = self.lock();
        if let Some(block) = inner.free.pop() {
            return block;
        }
        if inner.chunks.last().is_none_or(|chunk| inner.carved == chunk.blocks) {
            let blocks = inner.chunks.last().map_or(1, |chunk| chunk.blocks * 2);
            inner.chunks.push(self.chunk(blocks));
            inner.carved = 0;
        }
        let at = inner.carved * self.block.size();
        inner.carved += 1;
        let chunk = inner.chunks.last().expect("there is one now");
        // SAFETY: `carved` was less than the number of blocks.
        unsafe { chunk.at.add(at) }
    }

    /// Gives blocks back that [`take`](Self::take) gave out and nobody uses any more.
    pub(super) fn put(&self, blocks: &[NonNull<u8>]) {
        self.lock().free.extend_from_slice(blocks);
    }

    /// Sees to it that `blocks` blocks are free and their pages present, without holding up others.
    pub(super) fn prepare(&self, blocks: usize) {
        let mut spare = self.lock().free.len();
        while spare < blocks {
            let chunk = self.chunk(blocks - spare);
            let carved: Vec<_> = (0..chunk.blocks)
                // SAFETY: within the chunk.
                .map(|i| unsafe { chunk.at.add(i * self.block.size()) })
                .collect();
            for page in (0..chunk.layout.size()).step_by(PAGE) {
                // SAFETY: within the chunk, which nobody else knows yet.
                unsafe { chunk.at.add(page).write_volatile(0) };
            }
            let mut inner = self.lock();
            inner.free.extend_from_slice(&carved);
            if inner.chunks.is_empty() {
                inner.carved = chunk.blocks;
            }
            // The last chunk is the one being carved.
            inner.chunks.insert(0, chunk);
            spare = inner.free.len();
        }
    }

    /// A chunk of about `blocks` blocks, at most of a huge page.
    fn chunk(&self, blocks: usize) -> Chunk {
        let most = (HUGE / self.block.size()).max(1);
        let (size, align, blocks) = if blocks * 2 > most && most > 1 {
            (HUGE, HUGE, most)
        } else {
            (blocks.min(most) * self.block.size(), self.block.align(), blocks.min(most))
        };
        let layout = Layout::from_size_align(size, align).expect("at most 2 MiB, or one block");
        // SAFETY: a block is not empty.
        let Some(at) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        if align == HUGE {
            // SAFETY: memory of ours; the call is advice and changes no content.
            unsafe { libc::madvise(at.as_ptr().cast(), size, libc::MADV_HUGEPAGE) };
        }
        Chunk { at, layout, blocks }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        for chunk in inner.chunks.drain(..) {
            // SAFETY: allocated by `chunk` with this layout; whoever uses a block keeps the slab alive.
            unsafe { dealloc(chunk.at.as_ptr(), chunk.layout) };
        }
    }
}
