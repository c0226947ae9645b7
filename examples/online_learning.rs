//! Learns which articles each reader opens, while the readers read.
//!
//! Every reader has a logistic regression of their own, whose parameters are the state. For each article shown, the job
//! first predicts if the reader opens it, and then learns from what the reader did: one step of gradient descent. There is no
//! separate training, and no model to deploy.
//!
//! The job crashes in between, and continues from its last checkpoint with another number of subtasks. Its predictions are
//! those of a run without a crash, to the last bit.
//!
//! ```text
//! cargo run --release --example online_learning
//! ```
#![allow(clippy::print_stdout, reason = "a program")]

use state_backends::prelude::*;

/// Features of an article. The first is 1, for the bias.
pub(crate) const FEATURES: usize = 5;
/// Step of the first update. Later ones are shorter.
pub(crate) const RATE: f64 = 0.5;
/// Articles between two checkpoints.
const CHECKPOINT_EVERY: usize = 1_000;
/// Key groups.
const GROUPS: u16 = 32;

/// An article that was shown to a reader.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) reader: String,
    pub(crate) features: [f64; FEATURES],
    pub(crate) opened: bool,
}

/// The model of a reader: weights, and the number of articles that it has learnt from.
type Model = (Vec<f64>, u64);

/// The probability that the reader opens an article.
fn predict(weights: &[f64], features: &[f64; FEATURES]) -> f64 {
    let score: f64 = weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum();
    1.0 / (1.0 + (-score).exp())
}

/// A subtask of the operator. An engine would run each in a thread of its own.
struct Learner<B> {
    backend: B,
    models: ValueToken<Model>,
    /// Number and prediction of each article since the last checkpoint.
    predicted: Vec<(usize, f64)>,
}

impl<B: StateBackend<Key = String>> Learner<B> {
    /// Predicts, and then learns.
    fn process(&mut self, number: usize, shown: &Shown) -> Result<()> {
        let reader = self.backend.key(&shown.reader)?;
        let prediction = self.backend.value(self.models, reader, &())?.update(|model| {
            let (weights, learnt) = model.get_or_insert_with(|| (vec![0.0; FEATURES], 0));
            let prediction = predict(weights, &shown.features);
            let error = f64::from(u8::from(shown.opened)) - prediction;
            let step = RATE / (1.0 + *learnt as f64).sqrt();
            for (weight, feature) in weights.iter_mut().zip(shown.features) {
                *weight += step * error * feature;
            }
            *learnt += 1;
            prediction
        })?;
        self.predicted.push((number, prediction));
        Ok(())
    }
}

/// Starts the subtasks, from a checkpoint if there is one.
fn start<B: StateBackend<Key = String>>(
    options: &B::Options,
    parallelism: u16,
    from: Option<&Checkpoint>,
) -> Result<Vec<Learner<B>>> {
    let keys = KeySpace::new(GROUPS)?;
    let start = |index| {
        let subtask = Subtask::new("learners", keys.clone(), parallelism, index)?;
        let restore = from.map(|checkpoint| checkpoint.restore(&subtask)).transpose()?;
        let handles = restore.as_ref().map(|restore| restore.keyed()).unwrap_or_default();
        let mut backend = B::open(options, subtask, handles)?;
        let models = backend.register(ValueDescriptor::new("models"))?;
        Ok(Learner { backend, models, predicted: Vec::new() })
    };
    (0..parallelism).map(start).collect()
}

/// Completes a checkpoint. Returns the predictions before it.
fn checkpoint<B: StateBackend<Key = String>>(
    subtasks: &mut [Learner<B>],
    store: &mut CheckpointStore,
) -> Result<Vec<(usize, f64)>> {
    let id = store.begin()?;
    let (mut tasks, mut predicted) = (Vec::new(), Vec::new());
    for Learner { backend, predicted: new, .. } in &mut *subtasks {
        let keyed = backend.snapshot(SnapshotRequest::new(id))?.run()?;
        tasks.push(TaskState::of(backend.subtask(), keyed));
        predicted.append(new);
    }
    store.complete(Checkpoint::new(id, tasks))?;
    subtasks.iter_mut().try_for_each(|subtask| subtask.backend.notify_complete(id))?;
    Ok(predicted)
}

/// Runs the job over all articles. At each position in `crashes` it loses everything since the last checkpoint, and
/// continues with the parallelism beside it. Returns the predictions, in the order of the articles. Those of a checkpoint
/// become visible when it is complete, so a crash repeats none.
///
/// # Errors
/// Errors of the backend and of the store.
pub(crate) fn run<B: StateBackend<Key = String>>(
    options: &B::Options,
    store: &mut CheckpointStore,
    articles: &[Shown],
    parallelism: u16,
    crashes: &[(usize, u16)],
) -> Result<Vec<f64>> {
    let mut visible = Vec::new();
    // The position in the source. An engine keeps it in the checkpoint.
    let (mut next, mut completed) = (0, 0);
    let mut crashes = crashes.iter().peekable();
    let mut subtasks = start::<B>(options, parallelism, None)?;
    while let Some(shown) = articles.get(next) {
        if let Some((_, parallelism)) = crashes.next_if(|(at, _)| *at == next) {
            next = completed;
            drop(subtasks);
            subtasks = start(options, *parallelism, store.latest())?;
            continue;
        }
        if let Some(owner) = subtasks.iter_mut().find(|subtask| subtask.backend.key(&shown.reader).is_ok()) {
            owner.process(next, shown)?;
        }
        next += 1;
        if next.is_multiple_of(CHECKPOINT_EVERY) || next == articles.len() {
            visible.extend(checkpoint(&mut subtasks, store)?);
            completed = next;
        }
    }
    visible.sort_by_key(|(number, _)| *number);
    Ok(visible.into_iter().map(|(_, prediction)| prediction).collect())
}

/// Articles for readers who differ in what they like. They depend on the seed only.
pub(crate) fn articles(seed: u64, number: usize) -> Vec<Shown> {
    const READERS: usize = 30;
    let mut state = seed;
    // From -1 to 1.
    let mut random = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
    };
    let tastes: Vec<[f64; FEATURES]> =
        (0..READERS).map(|_| std::array::from_fn(|_| 4.0 * random())).collect();
    let of = |_| {
        let reader = (random().abs() * READERS as f64) as usize % READERS;
        let mut features = std::array::from_fn(|_| random());
        features[0] = 1.0;
        let opened = (random() + 1.0) / 2.0 < predict(&tastes[reader], &features);
        Shown { reader: format!("reader-{reader}"), features, opened }
    };
    (0..number).map(of).collect()
}

/// The share of predictions that were right.
pub(crate) fn right(articles: &[Shown], predictions: &[f64]) -> f64 {
    let pairs = articles.iter().zip(predictions);
    let right = pairs.filter(|(shown, prediction)| shown.opened == (**prediction > 0.5)).count();
    right as f64 / articles.len() as f64
}

fn main() -> Result<()> {
    let articles = articles(1, 30_000);
    let run = |crashes: &[(usize, u16)]| {
        let options_of_store = CheckpointStoreOptions::in_memory(JobFolder::new("online-learning")?);
        let mut store = CheckpointStore::open(options_of_store)?;
        run::<MemoryBackend<_>>(&MemoryOptions::default(), &mut store, &articles, 2, crashes)
    };
    let undisturbed = run(&[])?;
    let predictions = run(&[(7_777, 3), (20_001, 1)])?;
    for part in [0..300, 300..3_000, 3_000..30_000] {
        let share = 100.0 * right(&articles[part.clone()], &predictions[part.clone()]);
        println!("articles {} to {}: {share:.1} % right", part.start, part.end);
    }
    println!("the same without a crash: {}", predictions == undisturbed);
    Ok(())
}
