//! Random programs, written as scripts.

use std::fmt::{self, Write};

use proptest::prelude::*;

use crate::script::{Aggregator, Datum, Declared, Kind, Reducer, Type};

/// A program: states and operations on them. It is displayed as a script.
#[derive(Clone)]
pub struct Program {
    key_type: Type,
    max_parallelism: u16,
    parallelism: u8,
    states: Vec<Declared>,
    steps: Vec<Step>,
}

/// A step. Its numbers select from what exists when the step runs, so steps can be removed when a program is
/// shrunk.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Another current key.
    Key(u8),
    /// An operation on a state, with its arguments.
    Access {
        state: u8,
        operation: u8,
        values: [u8; 4],
    },
    /// Writes to this many consecutive keys.
    Fill {
        state: u8,
        keys: u16,
    },
    /// Adds this many elements or entries to a list or map.
    Extend {
        state: u8,
        elements: u16,
    },
    /// Reads a whole state.
    Dump(u8),
    Begin,
    End(u8),
    Cancel(u8),
    Complete(u8),
    Abort(u8),
    /// A crash, and the restore of a snapshot.
    Restore(u8),
    /// The same with another parallelism.
    Rescale(u8, u8),
    /// A start without state.
    Fresh,
}

fn types() -> impl Strategy<Value = Type> {
    prop_oneof![Just(Type::Long), Just(Type::Text), Just(Type::Int), Just(Type::Double), Just(Type::Bool)]
}

fn key_types() -> impl Strategy<Value = Type> {
    prop_oneof![Just(Type::Long), Just(Type::Text), Just(Type::Int)]
}

fn states() -> impl Strategy<Value = Declared> {
    let kind = prop_oneof![
        types().prop_map(|of| Kind::Value(of, None)),
        types().prop_map(|of| Kind::Value(of, Some(value(of, 1)))),
        types().prop_map(Kind::List),
        (key_types(), types()).prop_map(|(key, of)| Kind::Map(key, of)),
        prop_oneof![Just(Reducer::Sum), Just(Reducer::Min), Just(Reducer::Max)]
            .prop_map(|reducer| Kind::Reduce(Type::Long, reducer)),
        Just(Kind::Reduce(Type::Text, Reducer::Concat)),
        Just(Kind::Aggregate(Aggregator::Average)),
        Just(Kind::Aggregate(Aggregator::Count)),
        Just(Kind::Timers),
    ];
    (kind, proptest::option::of(key_types())).prop_map(|(kind, namespace)| Declared {
        kind,
        namespace,
        ttl: None,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => any::<u8>().prop_map(Step::Key),
        80 => any::<(u8, u8, [u8; 4])>()
            .prop_map(|(state, operation, values)| Step::Access { state, operation, values }),
        1 => (any::<u8>(), 0..400_u16).prop_map(|(state, keys)| Step::Fill { state, keys }),
        2 => (any::<u8>(), 0..200_u16).prop_map(|(state, elements)| Step::Extend { state, elements }),
        2 => any::<u8>().prop_map(Step::Dump),
        5 => Just(Step::Begin),
        5 => any::<u8>().prop_map(Step::End),
        1 => any::<u8>().prop_map(Step::Cancel),
        4 => any::<u8>().prop_map(Step::Complete),
        1 => any::<u8>().prop_map(Step::Abort),
        2 => any::<u8>().prop_map(Step::Restore),
        2 => any::<(u8, u8)>().prop_map(|(snapshot, parallelism)| Step::Rescale(snapshot, parallelism)),
        1 => Just(Step::Fresh),
    ]
}

/// Random programs.
pub fn programs() -> impl Strategy<Value = Program> {
    let groups = prop_oneof![Just(1_u16), Just(2), Just(7), Just(128), Just(129), Just(1000)];
    let states = proptest::collection::vec(states(), 1..5);
    let steps = proptest::collection::vec(steps(), 1..200);
    (key_types(), groups, 0..4_u8, states, steps).prop_map(
        |(key_type, max_parallelism, parallelism, states, steps)| Program {
            key_type,
            max_parallelism,
            parallelism,
            states,
            steps,
        },
    )
}

/// One of few values of a type, so that values repeat. Some are at a boundary.
fn value(of: Type, choice: u8) -> Datum {
    match of {
        Type::Long => {
            let edges = [0, 1, -1, 255, 256, i64::MAX, i64::MIN, -256];
            Datum::Long(edges[usize::from(choice) % edges.len()])
        }
        Type::Int => {
            let edges = [0, 1, -1, 255, 256, i32::MAX, i32::MIN, -256];
            Datum::Int(edges[usize::from(choice) % edges.len()])
        }
        Type::Text => {
            // 23 bytes are the most that tables keep inline. Zero bytes are escaped in keys.
            let long = |bytes: usize| "x".repeat(bytes);
            let edges =
                [String::new(), "a".into(), "a\0".into(), "ab".into(), "\u{e9}".into(), long(23), long(24)];
            Datum::Text(edges[usize::from(choice) % edges.len()].clone())
        }
        Type::Double => {
            let edges = [0.0, -0.0, 1.5, -1.5, f64::MAX, f64::NAN];
            Datum::double(edges[usize::from(choice) % edges.len()])
        }
        Type::Bool => Datum::Bool(choice % 2 == 1),
    }
}

/// A key of a fill, distinct from those of [`value`].
fn numbered(of: Type, number: u16) -> Datum {
    match of {
        Type::Long => Datum::Long(i64::from(number) * 1000 + 7),
        Type::Int => Datum::Int(i32::from(number) * 1000 + 7),
        _ => Datum::Text(format!("k{number}")),
    }
}

/// The words of a script for a value that may be null.
fn nullable(of: Type, choice: u8) -> String {
    if choice > 250 { "~".to_owned() } else { value(of, choice).to_string() }
}

/// Writes a program as a script.
struct Writer<'p> {
    program: &'p Program,
    begun: u32,
    running: Vec<u32>,
    done: Vec<u32>,
    aborted: Vec<u32>,
    cancelled: Vec<u32>,
}

fn chosen<T: Copy>(from: &[T], choice: u8) -> Option<T> {
    let index = usize::from(choice).checked_rem(from.len())?;
    from.get(index).copied()
}

impl Writer<'_> {
    fn write(&mut self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { key_type, max_parallelism, states, .. } = self.program;
        writeln!(
            f,
            "init {} {max_parallelism} {}",
            key_type.name(),
            self.parallelism(self.program.parallelism)
        )?;
        for (at, declared) in states.iter().enumerate() {
            let command = if declared.kind == Kind::Timers { "timers" } else { "state" };
            writeln!(f, "{command} s{at} {}", declared.words())?;
        }
        self.begin_again(f)?;
        for step in &self.program.steps {
            self.step(f, *step)?;
        }
        self.dump_all(f)
    }

    fn parallelism(&self, choice: u8) -> u16 {
        1 + u16::from(choice % 5) % self.program.max_parallelism
    }

    /// Selects a key after a start.
    fn begin_again(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key {}", value(self.program.key_type, 0))
    }

    fn dump_all(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.program.states.len()).try_for_each(|state| self.dump(f, state))
    }

    fn dump(&self, f: &mut fmt::Formatter<'_>, state: usize) -> fmt::Result {
        let command = if self.program.states[state].kind == Kind::Timers { "timer.list" } else { "dump" };
        writeln!(f, "{command} s{state}")
    }

    fn state(&self, choice: u8) -> (usize, &Declared) {
        let at = usize::from(choice) % self.program.states.len();
        (at, &self.program.states[at])
    }

    /// One of the namespaces of a state.
    fn namespace(&self, declared: &Declared, choice: u8) -> String {
        declared.namespace.map_or("-".to_owned(), |of| value(of, choice).to_string())
    }

    fn step(&mut self, f: &mut fmt::Formatter<'_>, step: Step) -> fmt::Result {
        match step {
            Step::Key(choice) => writeln!(f, "key {}", value(self.program.key_type, choice)),
            Step::Access { state, operation, values } => self.access(f, state, operation, values),
            Step::Fill { state, keys } => {
                let (at, declared) = self.state(state);
                writeln!(f, "ns {}", self.namespace(declared, 0))?;
                for number in 0..keys {
                    writeln!(f, "key {}", numbered(self.program.key_type, number))?;
                    self.add(f, at, declared, [number as u8; 2])?;
                }
                Ok(())
            }
            Step::Extend { state, elements } => self.extend(f, state, elements),
            Step::Dump(choice) => self.dump(f, self.state(choice).0),
            Step::Begin => {
                self.begun += 1;
                self.running.push(self.begun);
                writeln!(f, "snapshot.begin {}", self.begun)
            }
            Step::End(choice) => {
                let Some(snapshot) = chosen(&self.running, choice) else { return Ok(()) };
                self.running.retain(|other| *other != snapshot);
                self.done.push(snapshot);
                writeln!(f, "snapshot.end {snapshot}")
            }
            Step::Cancel(choice) => {
                let Some(snapshot) = chosen(&self.running, choice) else { return Ok(()) };
                self.running.retain(|other| *other != snapshot);
                self.cancelled.push(snapshot);
                writeln!(f, "snapshot.cancel {snapshot}")
            }
            Step::Complete(choice) => {
                let open: Vec<_> =
                    self.done.iter().filter(|done| !self.aborted.contains(done)).copied().collect();
                // Prefers the newest ones.
                let recent = &open[open.len().saturating_sub(3)..];
                let Some(snapshot) = chosen(recent, choice) else { return Ok(()) };
                writeln!(f, "notify.complete {snapshot}")
            }
            Step::Abort(choice) => {
                let Some(snapshot) = chosen(&self.cancelled, choice) else { return Ok(()) };
                self.aborted.push(snapshot);
                writeln!(f, "notify.aborted {snapshot}")
            }
            Step::Restore(choice) => self.restart(f, choice, None),
            Step::Rescale(choice, parallelism) => self.restart(f, choice, Some(parallelism)),
            Step::Fresh => {
                self.running.clear();
                writeln!(f, "fresh")?;
                self.begin_again(f)
            }
        }
    }

    fn restart(&mut self, f: &mut fmt::Formatter<'_>, choice: u8, parallelism: Option<u8>) -> fmt::Result {
        let recent = &self.done[self.done.len().saturating_sub(4)..];
        let Some(snapshot) = chosen(recent, choice) else { return Ok(()) };
        self.running.clear();
        match parallelism {
            None => writeln!(f, "restore {snapshot}")?,
            Some(choice) => writeln!(f, "rescale {snapshot} {}", self.parallelism(choice))?,
        }
        // Half of the time states stay unregistered.
        if choice.is_multiple_of(2) {
            self.dump_all(f)?;
        }
        self.begin_again(f)
    }

    fn extend(&self, f: &mut fmt::Formatter<'_>, state: u8, elements: u16) -> fmt::Result {
        let (at, declared) = self.state(state);
        writeln!(f, "ns {}", self.namespace(declared, 0))?;
        match &declared.kind {
            Kind::List(of) => {
                write!(f, "list.addAll s{at}")?;
                (0..elements).try_for_each(|number| write!(f, " {}", value(*of, number as u8)))?;
            }
            Kind::Map(key, of) => {
                write!(f, "map.putAll s{at}")?;
                (0..elements).try_for_each(|number| {
                    write!(f, " {} {}", numbered(*key, number), nullable(*of, number as u8))
                })?;
            }
            _ => return self.add(f, at, declared, [elements as u8; 2]),
        }
        f.write_char('\n')
    }

    fn access(&self, f: &mut fmt::Formatter<'_>, state: u8, operation: u8, v: [u8; 4]) -> fmt::Result {
        let (at, declared) = self.state(state);
        writeln!(f, "ns {}", self.namespace(declared, v[3] % 3))?;
        let namespace = |choice: u8| self.namespace(declared, choice % 3);
        match (operation % 32, &declared.kind) {
            (1, _) => writeln!(f, "keys s{at}"),
            (6..10, Kind::Timers) => writeln!(f, "timer.remove s{at} {}", Self::time(v[0])),
            (10..12, Kind::Timers) => writeln!(f, "timer.fire s{at} {}", Self::time(v[0])),
            (_, Kind::Timers) => self.add(f, at, declared, [v[0], v[1]]),
            (0, _) => writeln!(f, "clear s{at}"),
            (2, _) if v[0] < 64 => writeln!(f, "foreach.clear s{at}"),
            (3 | 4, Kind::List(_) | Kind::Reduce(..) | Kind::Aggregate(_))
                if declared.namespace.is_some() =>
            {
                writeln!(f, "merge s{at} {} {} {}", namespace(v[0]), namespace(v[1]), namespace(v[2]))
            }
            (5, _) => writeln!(f, "group"),
            (6..16, Kind::Map(key, _)) => match v[1] % 7 {
                0 => writeln!(f, "map.get s{at} {}", value(*key, v[0])),
                1 => writeln!(f, "map.contains s{at} {}", value(*key, v[0])),
                2 => writeln!(f, "map.isEmpty s{at}"),
                3 => writeln!(f, "map.keys s{at}"),
                4 => writeln!(f, "map.values s{at}"),
                5 => writeln!(f, "map.entries s{at}"),
                _ => writeln!(f, "map.range s{at} {} {}", value(*key, v[0]), value(*key, v[2])),
            },
            (6..16, _) => writeln!(f, "{}.get s{at}", declared.kind_name()),
            (16..20, Kind::Value(..)) => writeln!(f, "value.update s{at} ~"),
            (16..18, Kind::List(of)) => {
                writeln!(f, "list.update s{at} {} {}", value(*of, v[0]), value(*of, v[1]))
            }
            (18, Kind::List(_)) => writeln!(f, "list.update s{at}"),
            (16..22, Kind::Map(key, _)) => writeln!(f, "map.remove s{at} {}", value(*key, v[0])),
            (22, Kind::Map(key, _)) => writeln!(f, "map.remove s{at} {}", numbered(*key, v[0].into())),
            _ => self.add(f, at, declared, [v[0], v[1]]),
        }
    }

    /// One of few times.
    fn time(choice: u8) -> i64 {
        if choice < 32 {
            [i64::MIN, i64::MAX, -1, 0][usize::from(choice % 4)]
        } else {
            i64::from(choice % 64) - 8
        }
    }

    /// Adds something at the current key and namespace, for any kind.
    fn add(&self, f: &mut fmt::Formatter<'_>, at: usize, declared: &Declared, v: [u8; 2]) -> fmt::Result {
        match &declared.kind {
            Kind::Value(of, _) => writeln!(f, "value.update s{at} {}", value(*of, v[0])),
            Kind::List(of) => writeln!(f, "list.add s{at} {}", value(*of, v[0])),
            Kind::Map(key, of) => writeln!(f, "map.put s{at} {} {}", value(*key, v[0]), nullable(*of, v[1])),
            Kind::Reduce(of, _) => writeln!(f, "reduce.add s{at} {}", value(*of, v[0])),
            Kind::Aggregate(_) => writeln!(f, "agg.add s{at} {}", value(Type::Long, v[0])),
            Kind::Timers => writeln!(f, "timer.add s{at} {}", Self::time(v[0])),
        }
    }
}

impl Program {
    /// Number of key groups.
    pub fn max_parallelism(&self) -> u16 {
        self.max_parallelism
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, done, aborted, cancelled) = Default::default();
        Writer { program: self, begun: 0, running, done, aborted, cancelled }.write(f)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
