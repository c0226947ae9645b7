//! The full chunks of a list: a radix tree over their indexes that grows and shrinks at its end.

use triomphe::Arc;

use crate::containers::block::Block;

/// Elements in one allocation. The note is the epoch of the last append to it or to an earlier chunk.
pub(super) type Chunk<T> = Block<T, u32>;

const BITS: u32 = 5;
const FANOUT: usize = 1 << BITS;

enum Node<T> {
    Chunk(Chunk<T>),
    Block(Arc<Vec<Node<T>>>),
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Chunk(chunk) => Self::Chunk(chunk.clone()),
            Self::Block(block) => Self::Block(block.clone()),
        }
    }
}

/// All nodes but the last of each level hold `FANOUT` nodes, so a chunk's index is its path.
struct Root<T> {
    /// Levels of blocks below this one.
    height: u32,
    chunks: usize,
    nodes: Vec<Node<T>>,
}

impl<T> Clone for Root<T> {
    fn clone(&self) -> Self {
        Self { height: self.height, chunks: self.chunks, nodes: self.nodes.clone() }
    }
}

pub(super) struct Spine<T>(Option<Arc<Root<T>>>);

impl<T> Clone for Spine<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The position of the path to chunk `number` in a block with `height` levels of blocks below it.
fn slot(number: usize, height: u32) -> usize {
    (number >> (BITS * height)) % FANOUT
}

impl<T> Spine<T> {
    pub(super) const EMPTY: Self = Self(None);

    /// Number of chunks.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |root| root.chunks)
    }

    pub(super) fn get(&self, number: usize) -> Option<&Chunk<T>> {
        let root = self.0.as_ref().filter(|root| number < root.chunks)?;
        let (mut nodes, mut height) = (&root.nodes, root.height);
        loop {
            match nodes.get(slot(number, height))? {
                Node::Chunk(chunk) => return Some(chunk),
                Node::Block(block) => nodes = block,
            }
            height = height.checked_sub(1)?;
        }
    }

    pub(super) fn push(&mut self, chunk: Chunk<T>) {
        let root = self.0.get_or_insert_with(|| Arc::new(Root { height: 0, chunks: 0, nodes: Vec::new() }));
        let root = Arc::make_mut(root);
        if root.nodes.len() == FANOUT && slot(root.chunks, root.height) == 0 {
            let lower = std::mem::take(&mut root.nodes);
            root.nodes.push(Node::Block(Arc::new(lower)));
            root.height += 1;
        }
        push_last(&mut root.nodes, root.height, root.chunks, chunk);
        root.chunks += 1;
    }

    /// Raises the note of each chunk to at least `note`.
    pub(super) fn renew(&mut self, note: u32) {
        if let Some(root) = &mut self.0 {
            renew(&mut Arc::make_mut(root).nodes, note);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Chunk<T>> {
        let root = Arc::make_mut(self.0.as_mut()?);
        let chunk = pop_last(&mut root.nodes)?;
        root.chunks -= 1;
        if root.chunks == 0 {
            self.0 = None;
        } else if root.height > 0
            && root.nodes.len() == 1
            && let Some(Node::Block(only)) = root.nodes.pop()
        {
            root.nodes = Arc::unwrap_or_clone(only);
            root.height -= 1;
        }
        Some(chunk)
    }

    /// Bytes of the nodes, without the chunks.
    pub(super) fn heap_size(&self) -> usize {
        self.0.as_ref().map_or(0, |root| {
            let blocks = root.chunks / FANOUT + root.height as usize;
            size_of::<Root<T>>()
                + (root.chunks + blocks) * size_of::<Node<T>>()
                + blocks * size_of::<Vec<Node<T>>>()
        })
    }
}

/// Adds chunk `number` to `nodes`, which have room for it and `height` levels below them.
fn push_last<T>(nodes: &mut Vec<Node<T>>, height: u32, number: usize, chunk: Chunk<T>) {
    if height == 0 {
        return nodes.push(Node::Chunk(chunk));
    }
    if slot(number, height) == nodes.len() {
        nodes.push(Node::Block(Arc::new(Vec::new())));
    }
    if let Some(Node::Block(block)) = nodes.last_mut() {
        push_last(Arc::make_mut(block), height - 1, number, chunk);
    }
}

fn renew<T>(nodes: &mut [Node<T>], note: u32) {
    for node in nodes {
        match node {
            Node::Chunk(chunk) => chunk.note = chunk.note.max(note),
            Node::Block(block) => {
                let nodes: &mut Vec<_> = Arc::make_mut(block);
                renew(nodes, note);
            }
        }
    }
}

fn pop_last<T>(nodes: &mut Vec<Node<T>>) -> Option<Chunk<T>> {
    if let Some(Node::Block(block)) = nodes.last_mut() {
        let block = Arc::make_mut(block);
        let chunk = pop_last(block);
        if block.is_empty() {
            nodes.pop();
        }
        return chunk;
    }
    match nodes.pop()? {
        Node::Chunk(chunk) => Some(chunk),
        Node::Block(_) => None,
    }
}
