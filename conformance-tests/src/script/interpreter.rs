//! Runs the lines of a script.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Datum, Declared, Kind, Machine, Op, Timed, Type};

/// Flink's answer to a null where none is allowed, and to an access without a key.
const NULL: &str = "! NullPointerException";

/// An error in a script, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "script line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ScriptError {}

type Outcome = Result<Option<String>, String>;

/// The result of a failed line. An error of the backend is an answer of the script.
enum Stop {
    Script(String),
    Answer(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Script(message)
    }
}

impl From<backend_api::Error> for Stop {
    fn from(error: backend_api::Error) -> Self {
        Self::Answer(format!("! {:?}", error.kind()))
    }
}

/// Runs a script line by line. `open` makes the machine for the types and number of key groups of `init`.
pub struct Interpreter<O> {
    open: O,
    started: Option<Started>,
    declared: BTreeMap<String, Declared>,
    namespace: String,
    line: usize,
}

struct Started {
    machine: Box<dyn Machine>,
    key_type: Type,
    parallelism: u16,
    key: Option<Datum>,
    /// Checkpoint ids of all snapshots.
    ids: BTreeMap<String, u64>,
    running: BTreeSet<String>,
    done: BTreeSet<String>,
}

/// Runs a whole script, and returns its output.
///
/// # Errors
/// If the script is wrong, or a command is not supported.
pub fn run(
    script: &str,
    open: impl FnMut(Type, u16) -> Result<Box<dyn Machine>, String>,
) -> Result<String, ScriptError> {
    let mut interpreter = Interpreter::new(open);
    let mut output = String::new();
    for line in script.lines() {
        if let Some(answer) = interpreter.line(line)? {
            output += &answer;
            output.push('\n');
        }
    }
    interpreter.finish()?;
    Ok(output)
}

impl<O: FnMut(Type, u16) -> Result<Box<dyn Machine>, String>> Interpreter<O> {
    /// An interpreter at the start of a script.
    pub fn new(open: O) -> Self {
        let (declared, namespace) = (BTreeMap::new(), "-".to_owned());
        Self { open, started: None, declared, namespace, line: 0 }
    }

    /// Runs the next line, and returns its output: its number, a tab, the answer.
    ///
    /// # Errors
    /// If the line is wrong, or its command is not supported.
    pub fn line(&mut self, text: &str) -> Result<Option<String>, ScriptError> {
        self.line += 1;
        let words: Vec<_> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let answer = match words.first() {
            None => None,
            Some(first) if first.starts_with('#') => None,
            Some(_) => self.run(&words).map_err(|message| ScriptError { line: self.line, message })?,
        };
        Ok(answer.map(|answer| format!("{}\t{answer}", self.line)))
    }

    /// The machine, once a script has begun.
    pub fn machine(&mut self) -> Option<&mut dyn Machine> {
        Some(&mut *self.started.as_mut()?.machine)
    }

    /// Ends the machine.
    ///
    /// # Errors
    /// If it has left anything behind.
    pub fn finish(self) -> Result<(), ScriptError> {
        let finished = self.started.map_or(Ok(()), |mut started| started.machine.finish());
        finished.map_err(|message| ScriptError { line: self.line, message })
    }

    fn run(&mut self, words: &[&str]) -> Outcome {
        let [command, arguments @ ..] = words else { return Ok(None) };
        match (*command, arguments) {
            ("init", [key, max_parallelism, parallelism @ ..]) => {
                let key_type = Type::named(key).ok_or(format!("no such type: {key:?}"))?;
                let mut machine = (self.open)(key_type, number(max_parallelism)?)?;
                for (name, declared) in &self.declared {
                    machine.declare(name, declared.clone());
                }
                let parallelism = parallelism.first().map_or(Ok(1), |word| number(word))?;
                machine.start(parallelism, None).map_err(|error| error.to_string())?;
                let (ids, running, done) = Default::default();
                self.started =
                    Some(Started { machine, key_type, parallelism, key: None, ids, running, done });
                Ok(None)
            }
            ("state", [name, declared @ ..]) => {
                let declared = Declared::parse(declared)?;
                if let Some(started) = &mut self.started {
                    started.machine.declare(name, declared.clone());
                }
                self.declared.insert((*name).to_owned(), declared);
                Ok(None)
            }
            ("timers", [name, options @ ..]) => {
                let declared = Declared::parse_timers(options)?;
                if let Some(started) = &mut self.started {
                    started.machine.declare(name, declared.clone());
                }
                self.declared.insert((*name).to_owned(), declared);
                Ok(None)
            }
            ("echo", text) => Ok(Some(text.join(" "))),
            ("ns", [namespace]) => {
                self.namespace = (*namespace).to_owned();
                Ok(None)
            }
            ("savepoint" | "backend", _) => Err(format!("{command} is not built yet")),
            _ => {
                let started = self.started.as_mut().ok_or("init comes first")?;
                let run = started.run(command, arguments, &self.declared, &self.namespace);
                run.or_else(|stop| match stop {
                    Stop::Script(message) => Err(message),
                    Stop::Answer(answer) => Ok(Some(answer)),
                })
            }
        }
    }
}

impl Started {
    fn run(
        &mut self,
        command: &str,
        arguments: &[&str],
        declared: &BTreeMap<String, Declared>,
        namespace: &str,
    ) -> Result<Option<String>, Stop> {
        match (command, arguments) {
            ("key", [word]) => {
                let key = value(self.key_type, word)?.ok_or_else(null)?;
                self.machine.place(&key)?;
                self.key = Some(key);
            }
            ("group", []) => {
                let (group, subtask) = self.machine.place(self.key.as_ref().ok_or_else(null)?)?;
                return Ok(Some(format!("{group}@{subtask}")));
            }
            ("fresh", parallelism) => {
                let parallelism = parallelism.first().map_or(Ok(self.parallelism), |word| number(word))?;
                self.start(parallelism, None)?;
            }
            ("now", [now]) => self.machine.advance_to(time(now)?)?,
            ("restore", [snapshot]) => self.start(self.parallelism, Some(snapshot))?,
            ("rescale", [snapshot, parallelism]) => self.start(number(parallelism)?, Some(snapshot))?,
            ("snapshot", [snapshot]) => {
                self.begin(snapshot)?;
                self.end(snapshot)?;
                self.machine.complete(self.ids[*snapshot])?;
            }
            ("snapshot.begin", [snapshot]) => self.begin(snapshot)?,
            ("snapshot.end", [snapshot]) => self.end(snapshot)?,
            ("snapshot.cancel", [snapshot]) => {
                self.take_running(snapshot)?;
                self.machine.cancel(snapshot);
            }
            ("notify.complete", [snapshot]) => self.machine.complete(self.id(snapshot)?)?,
            ("notify.aborted", [snapshot]) => self.machine.aborted(self.id(snapshot)?)?,
            (_, [state, arguments @ ..]) => {
                let no_state = || format!("no such state or command: {command} {state}");
                let declared = declared.get(*state).ok_or_else(no_state)?;
                return self.on_state(command, state, declared, arguments, namespace);
            }
            _ => return Err(Stop::Script(format!("unknown command: {command}"))),
        }
        Ok(None)
    }

    fn start(&mut self, parallelism: u16, from: Option<&str>) -> Result<(), Stop> {
        if let Some(snapshot) = from.filter(|snapshot| !self.done.contains(*snapshot)) {
            return Err(Stop::Script(format!("no such snapshot: {snapshot}")));
        }
        self.running.clear();
        self.key = None;
        self.machine.start(parallelism, from)?;
        self.parallelism = parallelism;
        Ok(())
    }

    fn begin(&mut self, snapshot: &str) -> Result<(), Stop> {
        let id = self.ids.len() as u64 + 1;
        if self.ids.insert(snapshot.to_owned(), id).is_some() {
            return Err(Stop::Script(format!("snapshot {snapshot} exists")));
        }
        self.machine.begin(snapshot, id)?;
        self.running.insert(snapshot.to_owned());
        Ok(())
    }

    fn end(&mut self, snapshot: &str) -> Result<(), Stop> {
        self.take_running(snapshot)?;
        self.machine.end(snapshot)?;
        self.done.insert(snapshot.to_owned());
        Ok(())
    }

    fn take_running(&mut self, snapshot: &str) -> Result<(), String> {
        let running = self.running.remove(snapshot);
        running.then_some(()).ok_or_else(|| format!("snapshot {snapshot} is not running"))
    }

    fn id(&self, snapshot: &str) -> Result<u64, String> {
        self.ids.get(snapshot).copied().ok_or_else(|| format!("no such snapshot: {snapshot}"))
    }

    fn on_state(
        &mut self,
        command: &str,
        state: &str,
        declared: &Declared,
        arguments: &[&str],
        namespace: &str,
    ) -> Result<Option<String>, Stop> {
        let kind = command.split_once('.').map(|(kind, _)| kind).filter(|kind| *kind != "foreach");
        if kind.is_some_and(|kind| kind != declared.kind_name()) {
            return Err(Stop::Script(format!("{state} is of kind {}", declared.kind_name())));
        }
        let in_namespace = |word: &str| match declared.namespace {
            Some(of) => value(of, word)?.ok_or_else(null).map(Some),
            None => Ok(None),
        };
        match command {
            "keys" => {
                let keys = self.machine.keys(state, in_namespace(namespace)?.as_ref())?;
                Ok(Some(bracketed('[', sorted(keys.iter().map(Datum::to_string)), ']')))
            }
            "dump" => Ok(Some(self.dump(state)?)),
            "timer.list" | "timer.iterate" => Ok(Some(show_timers(self.machine.timers(state)?))),
            "timer.fire" => {
                let [to] = arguments else { return Err(Stop::Script("one time fires".to_owned())) };
                Ok(Some(show_timers(self.machine.fire(state, time(to)?)?)))
            }
            "foreach.clear" => {
                self.machine.clear_every_key(state, in_namespace(namespace)?.as_ref())?;
                Ok(None)
            }
            _ => {
                let key = self.key.clone().ok_or_else(null)?;
                let (target, op) = match (command, arguments) {
                    ("merge", [target, sources @ ..]) => {
                        let of = declared.namespace.ok_or(format!("{state} has no namespaces"))?;
                        let sources = sources.iter().map(|word| value(of, word)?.ok_or_else(null));
                        (*target, Op::Merge(sources.collect::<Result<_, _>>()?))
                    }
                    _ => (namespace, op(&declared.kind, command, arguments)?),
                };
                let answer = self.machine.access(state, &key, in_namespace(target)?.as_ref(), op)?;
                Ok(show(answer))
            }
        }
    }

    fn dump(&mut self, state: &str) -> Result<String, Stop> {
        let mut shown = Vec::new();
        for (key, namespace) in self.machine.pairs(state)? {
            let answer = self.machine.access(state, &key, namespace.as_ref(), Op::Get)?;
            let content = show(answer).unwrap_or_default();
            let namespace = namespace.map_or("-".to_owned(), |namespace| namespace.to_string());
            shown.push(format!("{key}@{namespace}:{content}"));
        }
        Ok(bracketed('{', sorted(shown.into_iter()), '}'))
    }
}

/// The operation of a command.
fn op(kind: &Kind, command: &str, arguments: &[&str]) -> Result<Op, Stop> {
    let (key_type, of) = match kind {
        Kind::Value(of, _) | Kind::List(of) | Kind::Reduce(of, _) => (*of, *of),
        Kind::Map(key, of) => (*key, *of),
        Kind::Aggregate(_) | Kind::Timers => (Type::Long, Type::Long),
    };
    let key = |word: &str| value(key_type, word)?.ok_or_else(null);
    let element = |word: &&str| value(of, word)?.ok_or_else(null);
    Ok(match (command, arguments) {
        ("clear", []) => Op::Clear,
        ("value.get" | "list.get" | "reduce.get" | "agg.get" | "map.entries", []) => Op::Get,
        ("value.update", [word]) => value(of, word)?.map_or(Op::Clear, Op::Set),
        ("list.add" | "reduce.add" | "agg.add", [word]) => Op::Add(element(word)?),
        ("list.addAll", words) => Op::AddAll(words.iter().map(element).collect::<Result<_, _>>()?),
        ("list.update", words) => Op::SetAll(words.iter().map(element).collect::<Result<_, _>>()?),
        ("map.get", [word]) => Op::GetEntry(key(word)?),
        ("map.contains", [word]) => Op::Contains(key(word)?),
        ("map.isEmpty", []) => Op::IsEmpty,
        ("map.keys", []) => Op::Keys,
        ("map.values", []) => Op::Values,
        ("map.range", [from, to]) => Op::Range(key(from)?, key(to)?),
        ("map.put", [word, to]) => Op::Put(key(word)?, value(of, to)?),
        ("map.putAll", words) if words.len() % 2 == 0 => {
            let entries = words.chunks_exact(2).map(|entry| Ok((key(entry[0])?, value(of, entry[1])?)));
            Op::PutAll(entries.collect::<Result<_, Stop>>()?)
        }
        ("map.remove", [word]) => Op::Remove(key(word)?),
        ("timer.add", [word]) => Op::AddTimer(time(word)?),
        ("timer.remove", [word]) => Op::RemoveTimer(time(word)?),
        _ => return Err(Stop::Script(format!("unknown command, or wrong number of words: {command}"))),
    })
}

fn value(of: Type, word: &str) -> Result<Option<Datum>, Stop> {
    if word == "~" {
        return Ok(None);
    }
    let value = of.parse(word);
    value.map(Some).ok_or_else(|| Stop::Script(format!("not a {}: {word:?}", of.name())))
}

fn time(word: &str) -> Result<i64, String> {
    word.parse().map_err(|_| format!("not a time: {word:?}"))
}

fn number(word: &str) -> Result<u16, String> {
    word.parse().map_err(|_| format!("not a number of groups or subtasks: {word:?}"))
}

fn null() -> Stop {
    Stop::Answer(NULL.to_owned())
}

fn sorted(shown: impl Iterator<Item = String>) -> Vec<String> {
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    shown
}

fn bracketed(open: char, shown: Vec<String>, close: char) -> String {
    format!("{open}{}{close}", shown.join(","))
}

/// Timers in the order of time, then of the text of key and namespace.
fn show_timers(timers: Vec<Timed>) -> String {
    let text = |(time, key, namespace): Timed| {
        let namespace = namespace.map_or("-".to_owned(), |namespace| namespace.to_string());
        (time, format!("{key}@{namespace}"))
    };
    let mut shown: Vec<_> = timers.into_iter().map(text).collect();
    shown.sort();
    bracketed('[', shown.into_iter().map(|(time, place)| format!("{time}:{place}")).collect(), ']')
}

/// The output format of Flink's oracle. Unordered answers are sorted by their text.
fn show(answer: Answer) -> Option<String> {
    let nullable = |value: &Option<Datum>| value.as_ref().map_or("~".to_owned(), Datum::to_string);
    let entry = |(key, value): &(Datum, Option<Datum>)| format!("{key}={}", nullable(value));
    Some(match answer {
        Answer::Done => return None,
        Answer::Value(value) => nullable(&value),
        // An empty list equals a missing list.
        Answer::List(elements) if elements.is_empty() => "~".to_owned(),
        Answer::List(elements) => bracketed('[', elements.iter().map(Datum::to_string).collect(), ']'),
        Answer::Flag(flag) => flag.to_string(),
        Answer::Keys(keys) => bracketed('[', sorted(keys.iter().map(Datum::to_string)), ']'),
        Answer::Values(values) => bracketed('[', sorted(values.iter().map(nullable)), ']'),
        Answer::Map(entries) => bracketed('{', sorted(entries.iter().map(entry)), '}'),
        Answer::Sorted(entries) => bracketed('[', entries.iter().map(entry).collect(), ']'),
    })
}
