//! The example `online_learning` predicts the same on every backend, whatever crashes and rescales there are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "support/backends.rs"]
mod backends;
#[path = "../examples/online_learning.rs"]
#[allow(dead_code, reason = "the main of the example is not run")]
mod online_learning;

use std::collections::BTreeMap;

use online_learning::{FEATURES, RATE, Shown, articles, right, run};
use state_backends::prelude::*;

/// The predictions, computed without a backend: the gradient of the logistic loss, reader by reader.
fn expected(articles: &[Shown]) -> Vec<f64> {
    let mut predictions = vec![0.0; articles.len()];
    let mut of_readers = BTreeMap::<&str, Vec<usize>>::new();
    for (number, shown) in articles.iter().enumerate() {
        of_readers.entry(&shown.reader).or_default().push(number);
    }
    for numbers in of_readers.into_values() {
        let mut weights = [0.0; FEATURES];
        for (learnt, number) in numbers.into_iter().enumerate() {
            let Shown { features, opened, .. } = &articles[number];
            let score: f64 = (0..FEATURES).map(|n| weights[n] * features[n]).sum();
            predictions[number] = 1.0 / (1.0 + (-score).exp());
            let error = if *opened { 1.0 } else { 0.0 } - predictions[number];
            for n in 0..FEATURES {
                weights[n] += RATE / (1.0 + learnt as f64).sqrt() * error * features[n];
            }
        }
    }
    predictions
}

/// Crashes that are followed by more, by fewer and by as many subtasks, before and after the first checkpoint.
const CRASHES: &[&[(usize, u16)]] = &[&[], &[(4_321, 4)], &[(500, 3), (1_000, 1), (2_999, 1), (4_900, 5)]];

fn check<B: StateBackend<Key = String>>(mut options: impl FnMut() -> (B::Options, CheckpointStoreOptions)) {
    for (seed, crashes) in (7..).zip(CRASHES) {
        let articles = articles(seed, 5_000);
        let (options, store) = options();
        let mut store = CheckpointStore::open(store).unwrap();
        let predictions = run::<B>(&options, &mut store, &articles, 2, crashes).unwrap();
        assert!(predictions == expected(&articles), "{crashes:?}");
        let (first, last) = (0..200, 3_000..5_000);
        let of = |part: std::ops::Range<usize>| right(&articles[part.clone()], &predictions[part]);
        assert!(of(last.clone()) > 0.75 && of(last) > of(first) + 0.05);
    }
}

on_each_backend!(check, "online-learning");
