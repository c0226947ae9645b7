//! Timers: behaviours S286 to S297.

use std::collections::BTreeSet;

use backend_api::{
    Checkpoint, Error, ErrorKind, Result, StateBackend, Timer, TimerDescriptor, TimerState, TimerToken,
    ValueDescriptor, ValueState,
};

use crate::access::{Access, kind, sorted};
use crate::random::Random;
use crate::{Factory, OPERATOR, Setup, World, checkpoint_of, part};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! timers_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* timers
            s286_an_empty_queue_has_no_head
            s287_timers_fire_once_in_the_order_of_time
            s287b_many_timers_of_one_key_group_fire_in_order
            s288_equal_timers_are_one
            s289_adding_says_if_the_head_changed
            s290_removing_says_if_the_head_changed
            s291_random_programs_match_a_sorted_set
            s292_an_iterator_has_each_timer_once
            s292b_keys_with_timers_are_listed_once
            s293_the_timers_of_a_key_group_and_of_a_key_are_found
            s293b_a_foreign_key_group_or_token_is_refused
            s294_firing_fires_what_is_due_and_can_stop
            s295_a_snapshot_is_not_affected_by_later_firing
            s295b_an_increment_has_what_fired_and_was_added
            s295c_a_checkpoint_with_timers_restores_again_without_registering
            s296_event_and_processing_time_are_separate
            s297_other_namespaces_kinds_or_time_domains_are_refused
        }
    };
}

fn timers() -> TimerDescriptor<u8> {
    TimerDescriptor::event_time("timers").namespaced()
}

/// A timer with a key of type `K`.
fn timer<K>(at: i64, key: K, namespace: u8) -> Timer<K, u8> {
    Timer { at, key, namespace }
}

/// Short calls, by plain timers.
trait Calls: StateBackend {
    fn plan(&mut self, token: TimerToken<u8>, timer: &Timer<Self::Key, u8>) -> bool {
        let key = self.subtask().clone();
        let key = key.key(&timer.key).unwrap();
        self.timers(token).unwrap().add(key, &timer.namespace, timer.at).unwrap()
    }

    fn cancel(&mut self, token: TimerToken<u8>, timer: &Timer<Self::Key, u8>) -> bool {
        let key = self.subtask().clone();
        let key = key.key(&timer.key).unwrap();
        self.timers(token).unwrap().remove(key, &timer.namespace, timer.at).unwrap()
    }

    fn fired(&mut self, token: TimerToken<u8>, to: i64) -> Vec<Timer<Self::Key, u8>> {
        self.timers(token).unwrap().advance(to).collect::<Result<_>>().unwrap()
    }

    fn all(&mut self, token: TimerToken<u8>) -> Vec<Timer<Self::Key, u8>> {
        sorted(self.timers(token).unwrap().iter().unwrap())
    }
}

impl<B: StateBackend> Calls for B {}

/// S286: an empty queue has no head and no size.
pub fn s286_an_empty_queue_has_no_head<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    for _ in 0..2 {
        {
            let mut view = backend.timers(token).unwrap();
            assert_eq!(view.peek().unwrap(), None);
            assert_eq!(view.poll().unwrap(), None);
            assert!(view.is_empty().unwrap());
            assert_eq!((view.len().unwrap(), view.advance(i64::MAX).count()), (0, 0));
            assert_eq!(view.iter().unwrap().count(), 0);
        }
        // Emptied, it is as before.
        backend.plan(token, &timer(7, 1, 0));
        assert_eq!(backend.fired(token, 7), [timer(7, 1, 0)]);
    }
}

/// S287: the times of polled timers never decrease, and each timer comes exactly once.
pub fn s287_timers_fire_once_in_the_order_of_time<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    let mut random = Random(1);
    let mut added = BTreeSet::new();
    for key in 0..1000 {
        let new = timer(random.below(500) as i64 - 250, key % 300, (key % 3) as u8);
        backend.plan(token, &new);
        added.insert(new);
    }
    for extreme in [i64::MIN, -1, 0, i64::MAX] {
        backend.plan(token, &timer(extreme, 1, 1));
        added.insert(timer(extreme, 1, 1));
    }
    let mut fired = Vec::new();
    while let Some(next) = backend.timers(token).unwrap().poll().unwrap() {
        fired.push(next);
    }
    assert!(fired.is_sorted_by_key(|fired| fired.at));
    assert_eq!(fired.len(), added.len());
    assert_eq!(BTreeSet::from_iter(fired), added);
}

/// S287b: thousands of timers of one key group fire in order, with others added and removed meanwhile.
pub fn s287b_many_timers_of_one_key_group_fire_in_order<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.try_open::<i32>(part(1, 1, 0), &[]).unwrap();
    let token = backend.register(timers()).unwrap();
    let mut random = Random(2);
    let mut model = BTreeSet::new();
    for _ in 0..3000 {
        let new = timer(random.below(10_000) as i64, random.below(50) as i32, 0);
        backend.plan(token, &new);
        model.insert(new);
    }
    while let Some(due) = model.pop_first() {
        assert_eq!(backend.timers(token).unwrap().poll().unwrap(), Some(due.clone()));
        match random.below(8) {
            // Before and after what is known of the queue.
            0 => {
                let new = timer(due.at + random.below(2000) as i64, random.below(50) as i32, 0);
                backend.plan(token, &new);
                model.insert(new);
            }
            1 => {
                let at = random.below(model.len().max(1) as u64) as usize;
                if let Some(gone) = model.iter().nth(at).cloned() {
                    backend.cancel(token, &gone);
                    model.remove(&gone);
                }
            }
            _ => {}
        }
    }
    assert!(backend.timers(token).unwrap().is_empty().unwrap());
}

/// S288: a timer that is added twice is one timer.
pub fn s288_equal_timers_are_one<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    for _ in 0..2 {
        // Long after the first ones, and among them.
        for at in 0..600 {
            backend.plan(token, &timer(at, 1, 1));
        }
    }
    assert_eq!(backend.timers(token).unwrap().len().unwrap(), 600);
    // Another key, namespace or time makes another timer.
    for other in [timer(0, 2, 1), timer(0, 1, 2), timer(601, 1, 1)] {
        backend.plan(token, &other);
    }
    assert_eq!(backend.fired(token, i64::MAX).len(), 603);
}

/// S289: adding says if the head changed.
pub fn s289_adding_says_if_the_head_changed<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    assert!(backend.plan(token, &timer(1, 7, 0)), "the first timer");
    assert!(!backend.plan(token, &timer(3, 7, 0)), "a later timer");
    assert!(!backend.plan(token, &timer(1, 7, 0)), "the same timer");
    assert!(backend.plan(token, &timer(0, 8, 0)), "an earlier timer");
    assert_eq!(backend.timers(token).unwrap().peek().unwrap(), Some(timer(0, 8, 0)));
}

/// S290: removing says if the head changed, and removing what is missing changes nothing.
pub fn s290_removing_says_if_the_head_changed<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    for at in 1..5 {
        backend.plan(token, &timer(at, at as i32, 0));
    }
    assert!(backend.cancel(token, &timer(1, 1, 0)), "the head");
    assert_eq!(backend.timers(token).unwrap().peek().unwrap(), Some(timer(2, 2, 0)));
    assert!(!backend.cancel(token, &timer(3, 3, 0)), "a later timer");
    for missing in [timer(1, 1, 0), timer(2, 2, 1), timer(2, 1, 0), timer(9, 2, 0)] {
        assert!(!backend.cancel(token, &missing), "{missing:?}");
    }
    assert_eq!(backend.fired(token, 9), [timer(2, 2, 0), timer(4, 4, 0)]);
}

/// Subtasks of one operator, and their timers.
struct Operator<F: Factory> {
    // Dropped before the world.
    backends: Vec<(F::Backend<i32>, TimerToken<u8>)>,
    world: World<F>,
    model: BTreeSet<Timer<i32, u8>>,
    /// The last completed checkpoint, and the timers in it.
    completed: Option<(Checkpoint, BTreeSet<Timer<i32, u8>>)>,
}

impl<F: Factory> Operator<F> {
    fn start(&mut self, parallelism: u16) {
        let checkpoint = self.completed.as_ref().map(|(checkpoint, _)| checkpoint);
        let open = |index| {
            let subtask = part(10, parallelism, index);
            let handles =
                checkpoint.map(|checkpoint| checkpoint.handles_for(OPERATOR, subtask.range()).unwrap());
            let mut backend = self.world.try_open(subtask, &handles.unwrap_or_default()).unwrap();
            let token = backend.register(timers()).unwrap();
            (backend, token)
        };
        self.backends = (0..parallelism).map(open).collect();
        self.model = self.completed.as_ref().map(|(_, timers)| timers.clone()).unwrap_or_default();
    }

    fn owner(&mut self, key: i32) -> &mut (F::Backend<i32>, TimerToken<u8>) {
        self.backends.iter_mut().find(|(backend, _)| backend.key(&key).is_ok()).unwrap()
    }

    fn step(&mut self, random: &mut Random) {
        let key = random.below(20) as i32;
        let new = timer(random.below(60) as i64 - 20, key, random.below(2) as u8);
        match random.below(20) {
            0..9 => {
                let (backend, token) = self.owner(key);
                backend.plan(*token, &new);
                self.model.insert(new);
            }
            9..12 => {
                let (backend, token) = self.owner(key);
                backend.cancel(*token, &new);
                self.model.remove(&new);
            }
            12..14 => {
                let (backend, token) = self.owner(key);
                let polled = backend.timers(*token).unwrap().poll().unwrap();
                let subtask = backend.subtask().clone();
                let ours = |timer: &&Timer<i32, u8>| subtask.key(&timer.key).is_ok();
                let least = self.model.iter().find(ours).map(|timer| timer.at);
                assert_eq!(polled.as_ref().map(|timer| timer.at), least);
                assert!(polled.is_none_or(|timer| self.model.remove(&timer)));
            }
            14..16 => self.fire(new.at, random.below(6) as usize),
            16 => self.check(),
            17 => {
                let handles: Vec<_> =
                    self.backends.iter_mut().map(|(backend, _)| self.world.snapshot(backend)).collect();
                // It may be lost, and then the next one has its changes.
                if random.below(3) > 0 {
                    self.completed = Some((checkpoint_of(handles.clone()), self.model.clone()));
                    for ((backend, _), handle) in self.backends.iter_mut().zip(&handles) {
                        backend.notify_complete(handle.checkpoint_id).unwrap();
                    }
                }
            }
            18 => self.start(self.backends.len() as u16),
            _ => self.start(1 + random.below(4) as u16),
        }
    }

    /// Fires at most `most` timers of each subtask.
    fn fire(&mut self, to: i64, most: usize) {
        for (backend, token) in &mut self.backends {
            let subtask = backend.subtask().clone();
            let due = self.model.iter().filter(|timer| timer.at <= to && subtask.key(&timer.key).is_ok());
            let due: Vec<_> = due.map(|timer| timer.at).take(most).collect();
            let mut view = backend.timers(*token).unwrap();
            let fired: Vec<_> = view.advance(to).take(most).collect::<Result<_>>().unwrap();
            assert_eq!(fired.iter().map(|timer| timer.at).collect::<Vec<_>>(), due);
            assert!(fired.iter().all(|timer| self.model.remove(timer)));
        }
    }

    fn check(&mut self) {
        let all = self.backends.iter_mut().flat_map(|(backend, token)| backend.all(*token));
        let mut all = all.collect::<Vec<_>>();
        all.sort();
        assert_eq!(all, self.model.iter().cloned().collect::<Vec<_>>());
    }
}

/// S291: random programs of adds, removals, polls, snapshots, restores and rescaling match a sorted set.
pub fn s291_random_programs_match_a_sorted_set<F: Factory>() {
    for seed in 0..12 {
        let world = World::<F>::new();
        let mut operator = Operator { world, backends: Vec::new(), model: BTreeSet::new(), completed: None };
        operator.start(1);
        let mut random = Random(seed);
        for _ in 0..250 {
            operator.step(&mut random);
        }
        operator.check();
    }
}

/// S292: an iterator has each timer once, ends, and can be dropped early.
pub fn s292_an_iterator_has_each_timer_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    let expected: Vec<_> = (0..400).map(|at| timer(at, at as i32 % 5, 0)).collect();
    expected.iter().for_each(|timer| _ = backend.plan(token, timer));
    assert_eq!(backend.all(token), expected);
    {
        let mut view = backend.timers(token).unwrap();
        let mut iterator = view.iter().unwrap();
        assert_eq!(iterator.by_ref().count(), 400);
        assert!(iterator.next().is_none());
    }
    assert!(backend.timers(token).unwrap().iter().unwrap().next().is_some());
    assert_eq!(backend.timers(token).unwrap().poll().unwrap(), Some(timer(0, 0, 0)));
    assert_eq!(backend.all(token), expected[1..]);
}

/// S292b: the keys with timers, and their namespaces, are listed once each.
pub fn s292b_keys_with_timers_are_listed_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    for at in 0..50 {
        backend.plan(token, &timer(at, at as i32 % 5, (at % 2) as u8));
    }
    backend.fired(token, 39);
    backend.cancel(token, &timer(44, 4, 0));
    assert_eq!(sorted(backend.keys(token, &0).unwrap()), [0, 1, 2, 3]);
    let pairs = sorted(backend.keys_and_namespaces(token).unwrap());
    assert_eq!(pairs, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (4, 1)]);
}

/// S293: the timers of a key group, and of a key, are exactly those.
pub fn s293_the_timers_of_a_key_group_and_of_a_key_are_found<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<String>();
    let token = backend.register(timers()).unwrap();
    let of = |key: &str, ats: [i64; 3]| ats.map(|at| timer(at, key.to_owned(), (at % 2) as u8));
    let (a, b) = (of("a", [1, 5, 9]), of("b", [2, 5, 7]));
    a.iter().chain(&b).for_each(|timer| _ = backend.plan(token, timer));
    let [in_a, in_b] = ["a", "b"].map(|key| backend.key(key).unwrap().group());
    assert_ne!(in_a, in_b);
    for group in 0..10 {
        let mut view = backend.timers(token).unwrap();
        let found = view.in_key_group(group).unwrap().collect::<Result<Vec<_>>>().unwrap();
        let expected = if group == in_a {
            &a[..]
        } else if group == in_b {
            &b[..]
        } else {
            &[]
        };
        assert_eq!(found, expected);
    }
    let keys = backend.subtask().clone();
    let of_b = keys.key("b").unwrap();
    let mut view = backend.timers(token).unwrap();
    assert_eq!(view.of_key(of_b).unwrap().collect::<Result<Vec<_>>>().unwrap(), b);
    // Other keys of the same group are not in it.
    let other = (0..).map(|n| format!("b{n}")).find(|key| keys.key(key).unwrap().group() == in_b).unwrap();
    assert_eq!(view.of_key(keys.key(&other).unwrap()).unwrap().count(), 0);
}

/// S293b: a key group or key of another subtask, and the token of another backend, are refused. The error of a key names
/// the state.
pub fn s293b_a_foreign_key_group_or_token_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.try_open::<i32>(part(10, 2, 0), &[]).unwrap();
    let token = backend.register(timers()).unwrap();
    let keys = backend.subtask().key_space().clone();
    let (foreign, group) =
        (0..).map(|key| (key, keys.key(&key).unwrap().group())).find(|(_, group)| *group > 4).unwrap();
    let check = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::KeyOutOfRange);
        assert_eq!(error.state(), Some("timers"));
    };
    let foreign = keys.key(&foreign).unwrap();
    {
        let mut view = backend.timers(token).unwrap();
        check(view.add(foreign, &0, 1).unwrap_err());
        check(view.remove(foreign, &0, 1).unwrap_err());
        check(view.of_key(foreign).map(drop).unwrap_err());
        check(view.in_key_group(group).map(drop).unwrap_err());
        assert!(view.is_empty().unwrap());
    }
    let mut other = world.open::<i32>();
    assert_eq!(kind(other.timers(token).map(drop)), ErrorKind::ForeignToken);
    backend.close().unwrap();
    assert_eq!(kind(backend.timers(token).map(drop)), ErrorKind::Closed);
}

/// S294: firing fires what is due and nothing else, can stop after some, and lets other state be used in between.
pub fn s294_firing_fires_what_is_due_and_can_stop<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    let fired = backend.register(ValueDescriptor::<i64>::new("fired")).unwrap();
    for at in 0..20 {
        backend.plan(token, &timer(at, 1, 0));
    }
    assert_eq!(backend.fired(token, -1), []);
    let some: Vec<_> = backend.timers(token).unwrap().advance(9).take(4).collect::<Result<_>>().unwrap();
    assert_eq!(some, [0, 1, 2, 3].map(|at| timer(at, 1, 0)));
    // A dropped iterator fires nothing.
    drop(backend.timers(token).unwrap().advance(9));
    while let Some(due) = backend.next_due(token, 9).unwrap() {
        backend.at(fired, &due.key).set(due.at).unwrap();
        // A timer that is added while timers fire is fired too, if it is due.
        if due.at == 5 {
            backend.plan(token, &timer(8, 2, 0));
        }
    }
    assert_eq!(backend.at(fired, &1).get().unwrap(), Some(9));
    assert_eq!(backend.at(fired, &2).get().unwrap(), Some(8));
    assert_eq!(backend.timers(token).unwrap().peek().unwrap(), Some(timer(10, 1, 0)));
    assert_eq!(backend.timers(token).unwrap().len().unwrap(), 10);
}

/// S295: a snapshot has the timers of its moment, even if all of them fire before it is written.
pub fn s295_a_snapshot_is_not_affected_by_later_firing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    let expected: Vec<_> = (0..1000).map(|at| timer(at, at as i32 % 40, 0)).collect();
    expected.iter().for_each(|timer| _ = backend.plan(token, timer));
    let task = backend.snapshot(world.request()).unwrap();
    assert_eq!(backend.fired(token, i64::MAX).len(), 1000);
    backend.plan(token, &timer(7, 99, 9));
    let handle = task.run().unwrap().unwrap();
    assert_eq!(backend.all(token), [timer(7, 99, 9)]);
    let mut restored = world.restore::<i32>(&handle);
    let token = restored.register(timers()).unwrap();
    assert_eq!(restored.all(token), expected);
    assert_eq!(restored.fired(token, i64::MAX), expected);
}

/// S295b: a restored increment has what was added since its base, and lacks what has fired or was removed.
pub fn s295b_an_increment_has_what_fired_and_was_added<F: Factory>() {
    let setup = Setup { incremental: Some(true), ..Setup::default() };
    let Some(world) = World::<F>::in_files(setup) else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    for at in 0..2000 {
        backend.plan(token, &timer(at, at as i32, 0));
    }
    world.checkpoint(&mut backend);
    for round in 0..5 {
        backend.fired(token, 10 * round);
        backend.cancel(token, &timer(1000 + round, 1000 + round as i32, 0));
        backend.plan(token, &timer(5000 + round, 1, 1));
        // Added and fired in between.
        backend.plan(token, &timer(-5, 1, 1));
        backend.fired(token, 0);
        let handle = world.checkpoint(&mut backend);
        let expected = backend.all(token);
        let mut restored = world.restore::<i32>(&handle);
        let token = restored.register(timers()).unwrap();
        assert_eq!(restored.all(token), expected);
    }
    backend.fired(token, i64::MAX);
    let handle = world.checkpoint(&mut backend);
    let mut restored = world.restore::<i32>(&handle);
    let token = restored.register(timers()).unwrap();
    assert_eq!(restored.all(token), []);
}

/// S295c: timers that a program does not register are passed on to its checkpoints.
pub fn s295c_a_checkpoint_with_timers_restores_again_without_registering<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    let expected: Vec<_> = (0..300).map(|at| timer(at, at as i32, 3)).collect();
    expected.iter().for_each(|timer| _ = backend.plan(token, timer));
    let handle = world.checkpoint(&mut backend);
    drop(backend);
    let mut unaware = world.restore::<i32>(&handle);
    unaware.register(ValueDescriptor::<i64>::new("other")).unwrap();
    assert!(unaware.check_restored().unwrap_err().message().contains("timers"));
    let handle = world.checkpoint(&mut unaware);
    let mut restored = world.restore::<i32>(&handle);
    let token = restored.register(timers()).unwrap();
    assert_eq!(restored.all(token), expected);
}

/// S296: timers of event time and of processing time fire separately.
pub fn s296_event_and_processing_time_are_separate<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let event = backend.register(timers()).unwrap();
    let clock = TimerDescriptor::processing_time("clock").namespaced();
    let clock = backend.register(clock).unwrap();
    backend.plan(event, &timer(1, 1, 0));
    backend.plan(clock, &timer(2, 1, 0));
    assert_eq!(backend.fired(event, 9), [timer(1, 1, 0)]);
    assert_eq!(backend.fired(clock, 1), []);
    assert_eq!(backend.fired(clock, 2), [timer(2, 1, 0)]);
}

/// S297: other namespaces or another time domain are refused, as is another kind, and the timers are kept.
pub fn s297_other_namespaces_kinds_or_time_domains_are_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(timers()).unwrap();
    backend.plan(token, &timer(1, 1, 0));
    let clock = || TimerDescriptor::processing_time("timers").namespaced::<u8>();
    assert_eq!(kind(backend.register(clock())), ErrorKind::IllegalState);
    let again = backend.register(timers()).unwrap();
    assert_eq!(backend.all(again), backend.all(token));
    let mut restored = world.reopen::<i32>(backend);
    let other = TimerDescriptor::event_time("timers").namespaced::<u16>();
    let refused = restored.register(other).unwrap_err();
    assert_eq!((refused.kind(), refused.state()), (ErrorKind::Migration, Some("timers")));
    let refused = restored.register(clock()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Migration);
    assert!(refused.message().contains("processing time"), "{refused}");
    let value = ValueDescriptor::<i64>::new("timers").namespaced::<u8>();
    assert_eq!(kind(restored.register(value)), ErrorKind::IncompatibleKind);
    let token = restored.register(timers()).unwrap();
    assert_eq!(restored.all(token), [timer(1, 1, 0)]);
}
