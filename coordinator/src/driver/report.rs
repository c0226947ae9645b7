//! Reports of checkpoints: events of `tracing`, and figures through `metrics` behind the feature.

use crate::CheckpointReport;

/// Reports a finished checkpoint.
pub fn tell(job: &str, report: &CheckpointReport) {
    let (id, duration_ms) = (report.id, report.duration_ms());
    let sync_us = report.summary(|task| task.sync_us).max;
    let bytes = report.summary(|task| task.delta_bytes).sum;
    match &report.failure {
        None => tracing::info!(job, id, duration_ms, sync_us, bytes, "checkpoint complete"),
        Some(reason) => tracing::warn!(job, id, duration_ms, %reason, "checkpoint aborted"),
    }
    #[cfg(feature = "metrics")]
    record(job, report);
}

#[cfg(feature = "metrics")]
fn record(job: &str, report: &CheckpointReport) {
    let job = || job.to_owned();
    if report.failure.is_some() {
        metrics::counter!("checkpoints_failed", "job" => job()).increment(1);
        return;
    }
    let alignment = report.summary(|task| task.alignment_us);
    let (delta, full) = (report.summary(|task| task.delta_bytes), report.summary(|task| task.full_bytes));
    metrics::counter!("checkpoints_completed", "job" => job()).increment(1);
    metrics::gauge!("checkpoint_id_last", "job" => job()).set(report.id as f64);
    metrics::histogram!("checkpoint_duration_ms", "job" => job()).record(report.duration_ms() as f64);
    metrics::histogram!("checkpoint_sync_us_max", "job" => job())
        .record(report.summary(|task| task.sync_us).max as f64);
    metrics::histogram!("checkpoint_async_us_max", "job" => job())
        .record(report.summary(|task| task.async_us).max as f64);
    metrics::histogram!("checkpoint_alignment_us_max", "job" => job()).record(alignment.max as f64);
    metrics::gauge!("checkpoint_delta_bytes", "job" => job()).set(delta.sum as f64);
    metrics::gauge!("checkpoint_full_bytes", "job" => job()).set(full.sum as f64);
}
