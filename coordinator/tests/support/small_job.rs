//! A job of a few operators that only keep a list, controlled by the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use backend_api::{CheckpointTarget, Error, ErrorKind, KeySpace, RestoreRules, Result, Subtask, TaskRestore};
use coordinator::{
    Attempt, BarrierKind, CheckpointConfig, CheckpointStore, Completed, Control, JobDriver, JobHandle,
    JobOutcome, Refusal, RestartStrategy, Task, TaskContext, TaskId,
};
use crossbeam_channel::Receiver;
use task_state::{OperatorListDescriptor, OperatorState, TaskSnapshot};

use super::{Faulty, job, options};

/// A job as seen from outside.
#[derive(Default)]
pub struct SmallJob {
    /// The restored list of each operator.
    pub restored: Mutex<BTreeMap<String, Vec<u64>>>,
    /// The barriers that arrived, each with true if a full snapshot was requested.
    pub barriers: Mutex<Vec<(u64, BarrierKind, bool)>>,
    /// The operator that declines the next barrier.
    pub declines: Mutex<Option<&'static str>>,
    /// Ends all tasks without an error.
    pub finishes: Mutex<bool>,
    /// Fails a task.
    pub fails: Mutex<bool>,
    /// One more state of each operator.
    pub extra: Option<&'static str>,
}

pub fn driver(storage: &Arc<Faulty>, config: CheckpointConfig) -> JobDriver {
    let store = CheckpointStore::open(options(storage).with_retained(config.retained).unwrap()).unwrap();
    JobDriver::new(job().path(), config, RestartStrategy::None, store)
}

pub fn answered(answer: Receiver<Result<Completed, Refusal>>) -> Result<Completed, Refusal> {
    answer.recv().expect("the job has ended without an answer")
}

impl SmallJob {
    /// Runs the job while `control` controls it. Afterwards the job is cancelled, if it has not ended.
    pub fn run(
        &self,
        driver: JobDriver,
        storage: &Arc<Faulty>,
        operators: &[&str],
        control: impl FnOnce(&JobHandle) + Send,
    ) -> Result<JobOutcome> {
        let target = CheckpointTarget::files(Arc::clone(storage) as Arc<_>, job()).with_inline_max(0)?;
        let handle = driver.handle();
        thread::scope(|scope| {
            let controlling = scope.spawn(move || {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| control(&handle)));
                handle.cancel();
                result
            });
            let outcome = driver.run(|attempt| self.tasks(&attempt, &target, operators));
            if let Err(panic) = controlling.join().unwrap() {
                std::panic::resume_unwind(panic);
            }
            outcome
        })
    }

    fn tasks<'env>(
        &'env self,
        attempt: &Attempt<'_>,
        target: &CheckpointTarget,
        operators: &[&str],
    ) -> Result<Vec<Task<'env>>> {
        let task = |operator: &&str| {
            let subtask = Subtask::single(*operator, KeySpace::<u64>::new(8)?)?;
            let (restore, target, rules) =
                (attempt.restore(&subtask)?, target.clone(), attempt.rules.clone());
            Ok(Task::source(TaskId::new(*operator, 0), move |context| {
                self.work(context, &subtask, &target, &restore, &rules)
            }))
        };
        operators.iter().map(task).collect()
    }

    fn work(
        &self,
        mut context: TaskContext,
        subtask: &Subtask<u64>,
        target: &CheckpointTarget,
        restore: &TaskRestore,
        rules: &RestoreRules,
    ) -> Result<()> {
        let operator = subtask.operator().to_owned();
        let mut state = OperatorState::open(target, subtask, restore.operator())?;
        let token = state.register(OperatorListDescriptor::<u64>::even_split("list"))?;
        // Too large to be inline in the metadata, also when it is compressed.
        let ballast = state.register(OperatorListDescriptor::<u64>::even_split("ballast"))?;
        state.list(ballast)?.set((0..3000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        if let Some(extra) = self.extra {
            state.register(OperatorListDescriptor::<u64>::even_split(extra))?;
        }
        state.check_restored(rules)?;
        let found = state.list(token)?.iter().copied().collect();
        self.restored.lock().unwrap().insert(operator.clone(), found);
        loop {
            match context.wait()? {
                Control::Barrier(barrier) => {
                    if *self.declines.lock().unwrap() == Some(&*operator) {
                        context.decline(barrier.id, "no room");
                        continue;
                    }
                    state.list(token)?.add(barrier.id);
                    let mut is_full = false;
                    context.snapshot(&barrier, Default::default(), |request| {
                        is_full = request.is_full();
                        Ok(TaskSnapshot::new(target, subtask, request).operator(&mut state)?.into_task())
                    });
                    self.barriers.lock().unwrap().push((barrier.id, barrier.kind, is_full));
                    if barrier.kind.is_stop() {
                        context.wait_for(barrier.id)?;
                    }
                }
                Control::Complete(_) | Control::Aborted(_) if *self.fails.lock().unwrap() => {
                    return Err(Error::new(ErrorKind::Function, "no such luck"));
                }
                Control::Complete(_) | Control::Aborted(_) if *self.finishes.lock().unwrap() => return Ok(()),
                Control::Complete(_) | Control::Aborted(_) => {}
                Control::Stop => return Ok(()),
            }
        }
    }
}
