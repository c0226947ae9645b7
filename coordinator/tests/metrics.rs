//! Figures through the facade `metrics`.

#![cfg(feature = "metrics")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use coordinator::CheckpointConfig;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use support::Faulty;
use support::small_job::{SmallJob, answered, driver};

/// Everything that was recorded, by figure.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

/// One figure of them.
struct Figure(Captured, String);

impl Figure {
    fn note(&self, value: f64) {
        self.0.0.lock().unwrap().entry(self.1.clone()).or_default().push(value);
    }
}

impl CounterFn for Figure {
    fn increment(&self, value: u64) {
        self.note(value as f64);
    }

    fn absolute(&self, value: u64) {
        self.note(value as f64);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, value: f64) {
        self.note(value);
    }

    fn decrement(&self, value: f64) {
        self.note(-value);
    }

    fn set(&self, value: f64) {
        self.note(value);
    }
}

impl HistogramFn for Figure {
    fn record(&self, value: f64) {
        self.note(value);
    }
}

impl Captured {
    fn figure(&self, key: &Key) -> Arc<Figure> {
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        assert_eq!(labels, [("job", "job")]);
        Arc::new(Figure(self.clone(), key.name().to_owned()))
    }
}

impl Recorder for Captured {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.figure(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.figure(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.figure(key))
    }
}

#[test]
fn each_checkpoint_is_recorded_once_with_its_figures() {
    let captured = Captured::default();
    let storage = Arc::new(Faulty::default());
    let small = SmallJob::default();
    let config = CheckpointConfig { tolerable_failures: 10, ..CheckpointConfig::default() };
    // The driver runs on this thread.
    let outcome = metrics::with_local_recorder(&captured, || {
        small.run(driver(&storage, config), &storage, &["a", "b"], |handle| {
            (0..2).for_each(|_| _ = answered(handle.trigger()).unwrap());
            *small.declines.lock().unwrap() = Some("a");
            answered(handle.trigger()).unwrap_err();
        })
    });
    let statistics = outcome.unwrap().statistics;
    assert_eq!((statistics.completed, statistics.failed), (2, 1));
    let captured = captured.0.lock().unwrap();
    let names: Vec<_> = captured.keys().map(String::as_str).collect();
    let expected = [
        "checkpoint_alignment_us_max",
        "checkpoint_async_us_max",
        "checkpoint_delta_bytes",
        "checkpoint_duration_ms",
        "checkpoint_full_bytes",
        "checkpoint_id_last",
        "checkpoint_sync_us_max",
        "checkpoints_completed",
        "checkpoints_failed",
    ];
    assert_eq!(names, expected);
    assert!(
        captured.iter().all(|(name, values)| values.len() == if name.ends_with("failed") { 1 } else { 2 })
    );
    assert_eq!(captured["checkpoint_id_last"], [1.0, 2.0]);
    let sizes = statistics.history.iter().rev().filter(|report| report.failure.is_none());
    let sizes: Vec<f64> = sizes.map(|report| report.summary(|task| task.delta_bytes).sum as f64).collect();
    assert!(sizes[0] > 0.0);
    assert_eq!(captured["checkpoint_delta_bytes"], sizes);
    assert_eq!(captured["checkpoint_full_bytes"], sizes);
}
