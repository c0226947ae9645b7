//! Counts words, takes a checkpoint, and continues with two subtasks instead of one.

use state_backends::prelude::*;

fn main() -> Result<()> {
    // 128 key groups: state moves in key groups when the job is rescaled.
    let words = KeySpace::<String>::new(128)?;
    let options = MemoryOptions::default();

    let mut backend = MemoryBackend::open(&options, Subtask::single("count", words.clone())?, &[])?;
    let counts = backend.register(ReducingDescriptor::new("counts", |a: &u64, b| a + b))?;
    // A `str` will do where keys are strings: no key is allocated.
    for word in "to be or not to be".split(' ') {
        let key = backend.key(word)?;
        backend.reducing(counts, key, &())?.add(1)?;
    }

    // A checkpoint: a short synchronous part, then a task that any thread may run.
    let task = backend.snapshot(SnapshotRequest::new(1))?;
    let state = task.run()?;

    // Two subtasks now. Each restores its half of the key groups. This is the one that owns "be".
    let index = words.subtask(2, "be")?;
    let mut backend =
        MemoryBackend::open(&options, Subtask::new("count", words, 2, index)?, state.as_slice())?;
    let counts = backend.register(ReducingDescriptor::new("counts", |a: &u64, b| a + b))?;
    let key = backend.key("be")?;
    assert_eq!(backend.reducing(counts, key, &())?.get()?, Some(2));
    Ok(())
}
