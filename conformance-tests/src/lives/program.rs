//! Random programs.

use proptest::prelude::*;

use super::states::{Target, Write};
use crate::kinds::{Change, KEYS};

/// A program: the configuration of the job, and its steps.
#[derive(Clone, Debug)]
pub struct Program {
    /// Subtasks of the first attempt.
    pub parallelism: u16,
    /// Completed checkpoints that the store retains.
    pub retained: usize,
    /// True if small checkpoint files are inlined in the handle.
    pub inline: bool,
    /// True if each request names the last completed checkpoint, so that notifications are not needed.
    pub names_last: bool,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A step. Its numbers select among the checkpoints or tasks of the moment. A step that finds none does
/// nothing.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Changes some keys of all states.
    Change,
    /// Changes one state.
    Write(Write),
    /// Begins a checkpoint: every subtask takes a snapshot.
    Begin { full: bool },
    /// Runs one task of a running checkpoint.
    Run { checkpoint: u8, task: u8 },
    /// Runs all tasks of a running checkpoint, and completes it.
    Complete { checkpoint: u8 },
    /// Notifies the subtasks of a complete checkpoint, possibly late or again.
    Notify { checkpoint: u8 },
    /// Aborts a running checkpoint. Its tasks may run late.
    Abort { checkpoint: u8, notify: bool, drop_tasks: bool },
    /// The attempt fails, and a new one starts from the latest checkpoint. The old tasks may still run.
    Restart { parallelism: u16 },
    /// The coordinator fails with the attempt, and a new one opens the job's folder. The old one may still
    /// run.
    Takeover { parallelism: u16, old_lives: bool },
    /// Runs a task of an earlier attempt or of an aborted checkpoint. Its acknowledgement is late.
    RunLate { task: u8 },
    /// A coordinator that lost the job tries to complete a checkpoint.
    CompleteLate { coordinator: u8 },
    /// The storage fails after this number of calls.
    Fail { calls: u8 },
    /// The storage works again.
    Heal,
    /// Lists the job's checkpoints.
    Look,
}

fn writes() -> impl Strategy<Value = Write> {
    let change = prop::sample::select(vec![Change::Write, Change::Alter, Change::Clear]);
    let key = prop::option::of(0..KEYS.end as u8);
    (prop::sample::select(Target::all()), key, change).prop_map(|(target, key, change)| Write {
        target,
        key,
        change,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let parallelism = || 1..4_u16;
    prop_oneof![
        8 => Just(Step::Change),
        16 => writes().prop_map(Step::Write),
        10 => prop::bool::weighted(0.15).prop_map(|full| Step::Begin { full }),
        6 => any::<(u8, u8)>().prop_map(|(checkpoint, task)| Step::Run { checkpoint, task }),
        9 => any::<u8>().prop_map(|checkpoint| Step::Complete { checkpoint }),
        6 => any::<u8>().prop_map(|checkpoint| Step::Notify { checkpoint }),
        2 => any::<(u8, bool, bool)>()
            .prop_map(|(checkpoint, notify, drop_tasks)| Step::Abort { checkpoint, notify, drop_tasks }),
        2 => parallelism().prop_map(|parallelism| Step::Restart { parallelism }),
        2 => (parallelism(), any::<bool>())
            .prop_map(|(parallelism, old_lives)| Step::Takeover { parallelism, old_lives }),
        3 => any::<u8>().prop_map(|task| Step::RunLate { task }),
        1 => any::<u8>().prop_map(|coordinator| Step::CompleteLate { coordinator }),
        1 => (1..12_u8).prop_map(|calls| Step::Fail { calls }),
        2 => Just(Step::Heal),
        1 => Just(Step::Look),
    ]
}

/// Random programs.
pub fn programs() -> impl Strategy<Value = Program> {
    (1..4_u16, 1..4_usize, any::<bool>(), any::<bool>(), prop::collection::vec(steps(), 1..80)).prop_map(
        |(parallelism, retained, inline, names_last, steps)| Program {
            parallelism,
            retained,
            inline,
            names_last,
            steps,
        },
    )
}
