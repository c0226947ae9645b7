//! Memory for segments of the full size.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr::NonNull,
    sync::{
        PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use super::sync::{Mutex, MutexGuard};

/// Chunks grow up to the size of a huge page, and are then aligned to it.
const HUGE: usize = 2 << 20;
const PAGE: usize = 4 << 10;
/// Most chunks that the supply thread makes ahead of use.
const AHEAD: usize = 8;

/// Blocks of one size, carved from chunks. All chunks are freed when the slab is dropped.
///
/// A table and its snapshots share it. Any thread may return a block.
pub(super) struct Slab {
    block: Layout,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    free: Vec<NonNull<u8>>,
    chunks: Vec<Chunk>,
    /// Blocks of the last chunk that were handed out at least once.
    carved: usize,
    /// Blocks in use.
    used: usize,
    /// Chunks made ahead by the supply thread.
    supply: Option<Receiver<Chunk>>,
}

// SAFETY: the slab does not access the contents of blocks, which belong to their users.
unsafe impl Send for Inner {}

impl Slab {
    /// The size of the layout `block` must be a multiple of its alignment.
    pub(super) fn new(block: Layout) -> Self {
        debug_assert!(block.size() > 0 && block.size().is_multiple_of(block.align()));
        Self { block, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a block, and true if it is known to be zero. Otherwise it is uninitialized.
    pub(super) fn take(&self) -> (NonNull<u8>, bool) {
        let mut inner = self.lock();
        inner.used += 1;
        if let Some(block) = inner.free.pop() {
            return (block, false);
        }
        if inner.chunks.last().is_none_or(|chunk| inner.carved == chunk.blocks) {
            // Does not wait for the supply thread if it is behind.
            let supplied = inner.supply.as_ref().and_then(|supply| supply.try_recv().ok());
            let blocks = inner.chunks.last().map_or(1, |chunk| chunk.blocks * 2);
            inner.chunks.push(supplied.unwrap_or_else(|| Chunk::new(self.block, blocks)));
            inner.carved = 0;
        }
        let at = inner.carved * self.block.size();
        inner.carved += 1;
        let chunk = inner.chunks.last().expect("a chunk was pushed above");
        // SAFETY: `carved` was less than the number of blocks.
        (unsafe { chunk.at.add(at) }, true)
    }

    /// Returns a block that is no longer used. When the last block comes back, all memory is freed.
    pub(super) fn put(&self, block: NonNull<u8>) {
        let mut inner = self.lock();
        inner.free.push(block);
        inner.used -= 1;
        if inner.used == 0 {
            inner.free = Vec::new();
            inner.chunks = Vec::new();
            inner.carved = 0;
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.lock().chunks.iter().map(|chunk| chunk.layout.size()).sum()
    }

    /// Starts a thread that allocates about `blocks` blocks ahead of use, and faults their pages in. Page
    /// faults dominate the cost of filling a table. [`end_supply`](Self::end_supply) frees what is left.
    pub(super) fn supply(&self, blocks: usize) {
        let (block, chunks) = (self.block, blocks / Chunk::most_blocks(self.block));
        if chunks < AHEAD {
            return;
        }
        let (supply, supplied) = sync_channel(AHEAD);
        let work = move || {
            for _ in 0..chunks {
                let chunk = Chunk::new(block, Chunk::most_blocks(block));
                chunk.touch();
                if supply.send(chunk).is_err() {
                    return;
                }
            }
        };
        // Without the thread, chunks are allocated on demand.
        if thread::Builder::new().name("memory".to_owned()).spawn(work).is_ok() {
            self.lock().supply = Some(supplied);
        }
    }

    pub(super) fn end_supply(&self) {
        self.lock().supply = None;
    }

    /// Ensures that `blocks` blocks are free and their pages faulted in, without holding the lock for long.
    pub(super) fn prepare(&self, blocks: usize) {
        let mut spare = self.lock().free.len();
        while spare < blocks {
            let chunk = Chunk::new(self.block, blocks - spare);
            let carved: Vec<_> = (0..chunk.blocks)
                // SAFETY: within the chunk.
                .map(|i| unsafe { chunk.at.add(i * self.block.size()) })
                .collect();
            chunk.touch();
            let mut inner = self.lock();
            inner.free.extend_from_slice(&carved);
            if inner.chunks.is_empty() {
                inner.carved = chunk.blocks;
            }
            // The last chunk is the one being carved, so this one goes to the front.
            inner.chunks.insert(0, chunk);
            spare = inner.free.len();
        }
    }
}

/// Memory for blocks, freed on drop.
struct Chunk {
    at: NonNull<u8>,
    layout: Layout,
    blocks: usize,
    /// True if it comes from [`map_huge`], and not from the allocator.
    mapped: bool,
}

// SAFETY: a chunk owns its memory, and does not access it.
unsafe impl Send for Chunk {}

impl Chunk {
    /// Blocks in a chunk of the size of a huge page.
    fn most_blocks(block: Layout) -> usize {
        (HUGE / block.size()).max(1)
    }

    /// Allocates zeroed memory for about `blocks` blocks, up to a huge page.
    fn new(block: Layout, blocks: usize) -> Self {
        let most = Self::most_blocks(block);
        let (size, align, blocks) = if blocks * 2 > most && most > 1 {
            (HUGE, HUGE, most)
        } else {
            (blocks.min(most) * block.size(), block.align(), blocks.min(most))
        };
        let layout = Layout::from_size_align(size, align).expect("at most 2 MiB, or one block");
        let at = if align == HUGE { map_huge() } else { None };
        // SAFETY: a block is not empty.
        let allocate = || NonNull::new(unsafe { alloc_zeroed(layout) });
        let mapped = at.is_some();
        let at = at.or_else(allocate).unwrap_or_else(|| handle_alloc_error(layout));
        Self { at, layout, blocks, mapped }
    }

    /// Faults the pages of a new chunk in.
    fn touch(&self) {
        for page in (0..self.layout.size()).step_by(PAGE) {
            // SAFETY: within the chunk, which is all zero and not shared yet.
            unsafe { self.at.add(page).write_volatile(0) };
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if self.mapped {
            // SAFETY: mapped by `map_huge`. Users of blocks keep the slab alive.
            unsafe { libc::munmap(self.at.as_ptr().cast(), HUGE) };
            return;
        }
        // SAFETY: allocated by `new` with this layout. Users of blocks keep the slab alive.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// Maps a zeroed huge page. `None` if the system refuses, or is not Linux.
fn map_huge() -> Option<NonNull<u8>> {
    #[cfg(target_os = "linux")]
    // SAFETY: a fresh mapping of twice the size contains an aligned page. The rest is unmapped.
    unsafe {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let mapping = libc::mmap(std::ptr::null_mut(), 2 * HUGE, access, kind, -1, 0);
        if mapping == libc::MAP_FAILED {
            return None;
        }
        let before = mapping.align_offset(HUGE);
        let at = mapping.byte_add(before);
        if before > 0 {
            libc::munmap(mapping, before);
        }
        libc::munmap(at.byte_add(HUGE), HUGE - before);
        libc::madvise(at, HUGE, libc::MADV_HUGEPAGE);
        NonNull::new(at.cast())
    }
    #[cfg(not(target_os = "linux"))]
    None
}
