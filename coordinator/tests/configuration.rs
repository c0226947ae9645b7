//! Configuration from files: Flink's keys, and one clear error for what is wrong.

use std::time::Duration;

use backend_api::ErrorKind;
use coordinator::{
    BackendConfig, BackendKind, CheckpointConfig, CheckpointingMode, JobConfig, RestartStrategy, Retention,
};

const ALL: &str = "
execution.checkpointing.interval: 30 s
execution.checkpointing.mode: AT_LEAST_ONCE
execution.checkpointing.timeout: 5 min
execution.checkpointing.min-pause: 500 ms
execution.checkpointing.max-concurrent-checkpoints: 2
execution.checkpointing.tolerable-failed-checkpoints: 3
execution.checkpointing.num-retained: 4
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
execution.checkpointing.unaligned.enabled: false
execution.checkpointing.incremental: true
execution.checkpointing.dir: /checkpoints
execution.checkpointing.savepoint-dir: /savepoints
execution.checkpointing.data-inline-threshold: 40 kb
state.backend.type: rocksdb
state.backend.memory.max-state-size: 6 mb
state.backend.rocksdb.localdir: /work
state.backend.rocksdb.memory.fixed-per-slot: 1 gb
state.backend.rocksdb.checkpoint.transfer.thread.num: 3
execution.checkpointing.storage: filesystem
execution.checkpointing.aligned-checkpoint-timeout: 0 s
restart-strategy.type: exponential-delay
restart-strategy.exponential-delay.initial-backoff: 2 s
restart-strategy.exponential-delay.max-backoff: 1 h
restart-strategy.exponential-delay.backoff-multiplier: 3.0
restart-strategy.exponential-delay.reset-backoff-threshold: 1 d
";

fn all() -> JobConfig {
    JobConfig {
        checkpoints: CheckpointConfig {
            interval: Some(Duration::from_secs(30)),
            mode: CheckpointingMode::AtLeastOnce,
            timeout: Duration::from_secs(300),
            min_pause: Duration::from_millis(500),
            max_concurrent: 2,
            tolerable_failures: 3,
            retained: 4,
            retention: Retention::RetainOnCancellation,
            checkpoint_dir: Some("/checkpoints".to_owned()),
            savepoint_dir: Some("/savepoints".to_owned()),
        },
        backend: BackendConfig {
            kind: BackendKind::RocksDb,
            incremental: true,
            inline_max: Some(40 << 10),
            max_state_bytes: Some(6 << 20),
            working_dir: Some("/work".to_owned()),
            memory_budget: Some(1 << 30),
            transfer_threads: Some(3),
        },
        restart: RestartStrategy::ExponentialDelay {
            initial: Duration::from_secs(2),
            max: Duration::from_secs(3600),
            multiplier: 3.0,
            reset_after: Duration::from_secs(86_400),
        },
    }
}

#[test]
fn every_key_is_read_from_yaml() {
    assert_eq!(JobConfig::from_yaml(ALL).unwrap(), all());
    assert_eq!(JobConfig::from_yaml("").unwrap(), JobConfig::default());
    assert_eq!(JobConfig::from_yaml("# nothing\n").unwrap(), JobConfig::default());
}

#[test]
fn nested_keys_and_toml_are_read() {
    let toml = ALL.lines().filter(|line| !line.is_empty()).map(|line| {
        let (key, value) = line.split_once(": ").unwrap();
        format!("{key} = {value:?}\n")
    });
    assert_eq!(toml::from_str::<JobConfig>(&toml.collect::<String>()).unwrap(), all());

    let nested = "execution:\n  checkpointing:\n    num-retained: 7\n    mode: exactly_once\n";
    assert_eq!(JobConfig::from_yaml(nested).unwrap().checkpoints.retained, 7);
}

#[test]
fn earlier_names_of_keys_work() {
    let config = JobConfig::from_yaml(
        "state.backend: hashmap\nstate.backend.incremental: true\nstate.checkpoints.dir: /c\nstate.savepoints.dir: /s\n\
         state.checkpoints.num-retained: 2\nrestart-strategy: fixed-delay\nrestart-strategy.fixed-delay.attempts: 9",
    );
    let config = config.unwrap();
    assert_eq!((config.backend.kind, config.backend.incremental), (BackendKind::Filesystem, true));
    assert_eq!((config.checkpoints.checkpoint_dir.as_deref(), config.checkpoints.retained), (Some("/c"), 2));
    let delay = Duration::from_secs(1);
    assert_eq!(config.restart, RestartStrategy::FixedDelay { attempts: 9, delay });
}

#[test]
fn checkpoints_of_state_on_the_heap_go_where_flink_puts_them() {
    let cases = [
        ("", BackendKind::Memory),
        ("state.backend.type: hashmap", BackendKind::Memory),
        ("execution.checkpointing.dir: /c", BackendKind::Filesystem),
        ("execution.checkpointing.storage: filesystem", BackendKind::Filesystem),
        ("state.checkpoint-storage: jobmanager\nstate.checkpoints.dir: /c", BackendKind::Memory),
        ("state.backend.type: memory\nexecution.checkpointing.dir: /c", BackendKind::Memory),
        ("state.backend.type: filesystem", BackendKind::Filesystem),
        ("state.backend.type: rocksdb\nexecution.checkpointing.storage: filesystem", BackendKind::RocksDb),
    ];
    for (text, kind) in cases {
        assert_eq!(JobConfig::from_yaml(text).unwrap().backend.kind, kind, "{text:?}");
    }
    for kind in ["rocksdb", "filesystem"] {
        let text = format!("state.backend.type: {kind}\nexecution.checkpointing.storage: jobmanager");
        let error = JobConfig::from_yaml(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        assert!(error.message().starts_with("execution.checkpointing.storage: "), "{error}");
    }
}

/// Q239, Q240, Q244.
#[test]
fn errors_are_one_line_naming_the_key() {
    let cases = [
        ("execution.checkpointing.intervall: 30 s", "there is no setting of this name"),
        ("execution.checkpointing.interval: 9 ms", "less than 10ms"),
        ("execution.checkpointing.timeout: 9", "less than 10ms"),
        ("execution.checkpointing.timeout: soon", "\"soon\""),
        ("execution.checkpointing.min-pause: -1", "\"-1\""),
        ("execution.checkpointing.max-concurrent-checkpoints: 0", "less than 1"),
        ("execution.checkpointing.tolerable-failed-checkpoints: -1", "\"-1\""),
        ("execution.checkpointing.num-retained: 0", "less than 1"),
        ("execution.checkpointing.mode: twice", "EXACTLY_ONCE"),
        ("execution.checkpointing.unaligned.enabled: true", "unaligned checkpoints are not supported"),
        ("execution.checkpointing.unaligned: true", "unaligned checkpoints are not supported"),
        (
            "execution.checkpointing.aligned-checkpoint-timeout: 1 s",
            "unaligned checkpoints are not supported",
        ),
        ("execution.checkpointing.storage: tape", "\"tape\""),
        ("execution.checkpointing.incremental: perhaps", "\"perhaps\""),
        ("state.backend.type: tape", "\"tape\""),
        ("state.backend.memory.max-state-size: 5 pb", "unit of size"),
        ("restart-strategy.type: never", "\"never\""),
        ("restart-strategy.fixed-delay.attempts: many", "\"many\""),
        ("restart-strategy.exponential-delay.backoff-multiplier: 1", "above 1"),
        ("execution.checkpointing.dir: [1, 2]", "no text, number or truth value"),
        ("taskmanager.memory: 1 gb", "there is no setting of this name"),
    ];
    for (text, reason) in cases {
        let error = JobConfig::from_yaml(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        let key = text.split(':').next().unwrap();
        assert!(error.message().contains(key) && error.message().contains(reason), "{text}: {error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[test]
fn a_duplicate_setting_is_refused() {
    let twice = [
        "execution.checkpointing.num-retained: 1\nstate.checkpoints.num-retained: 2",
        "execution.checkpointing.num-retained: 1\nexecution:\n  checkpointing:\n    num-retained: 2",
        "state.backend: memory\nstate.backend: rocksdb",
    ];
    for text in twice {
        let error = JobConfig::from_yaml(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
    assert!(JobConfig::from_yaml("just a text").is_err());
    assert!(JobConfig::from_yaml("- a\n- list").is_err());
}
