//! Canonical savepoints of random programs, between all pairs of the family's backends.

use backend_api::{Checkpoint, StateData};
use conformance_tests::Setup;
use conformance_tests::family::{FAMILY, Member};
use conformance_tests::model::{Program, programs};
use conformance_tests::script::Interpreter;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Above the ids of all snapshots of a program.
const ID: u64 = 1_000_000;

/// The content of the files of all subtasks.
fn bytes(savepoint: &Checkpoint) -> Vec<&[u8]> {
    let files = savepoint.files();
    let inline = files.map(|file| match &file.data {
        StateData::Inline(bytes) => &**bytes,
        StateData::File { path, .. } => panic!("{path} is not in the metadata"),
    });
    inline.collect()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once('\t').map_or(line, |(_, answer)| answer)).collect()
}

/// Runs a program on a backend, and takes a savepoint at its end. Returns the answers to the last lines, which read all
/// states, and the savepoint.
fn run(member: &Member, script: &str, dumps: usize) -> Result<(Vec<String>, Checkpoint), String> {
    let mut interpreter =
        Interpreter::new(|keys, max_parallelism| (member.operator)(Setup::default(), keys, max_parallelism));
    let mut answers = Vec::new();
    for line in script.lines() {
        answers.extend(interpreter.line(line).map_err(|error| error.to_string())?);
    }
    let machine = interpreter.machine().ok_or("the script has no operator")?;
    let savepoint = machine.savepoint(ID).map_err(|error| error.to_string())?;
    interpreter.finish().map_err(|error| error.to_string())?;
    let last = answers.split_off(answers.len() - dumps);
    Ok((lines(&last.join("\n")).into_iter().map(str::to_owned).collect(), savepoint))
}

/// The answers to the last lines of a program on a backend that starts from a savepoint.
fn restore(
    member: &Member,
    script: &str,
    dumps: usize,
    savepoint: &Checkpoint,
    parallelism: u16,
) -> Result<Vec<String>, String> {
    let mut interpreter =
        Interpreter::new(|keys, max_parallelism| (member.operator)(Setup::default(), keys, max_parallelism));
    for line in script.lines().filter(|line| line.starts_with("init ") || line.starts_with("state ")) {
        interpreter.line(line).map_err(|error| error.to_string())?;
    }
    let machine = interpreter.machine().ok_or("the script has no operator")?;
    machine.adopt("savepoint", savepoint.clone());
    machine.start(parallelism, Some("savepoint")).map_err(|error| error.to_string())?;
    let skipped = script.lines().count() - dumps;
    let mut answers = Vec::new();
    for line in script.lines().skip(skipped) {
        answers.extend(interpreter.line(line).map_err(|error| error.to_string())?);
    }
    interpreter.finish().map_err(|error| error.to_string())?;
    Ok(lines(&answers.join("\n")).into_iter().map(str::to_owned).collect())
}

fn check(program: &Program, parallelism: u16) -> Result<(), String> {
    let script = program.to_string();
    let dumps = script.lines().rev().take_while(|line| line.starts_with("dump ")).count();
    let declared = script.lines().filter(|line| line.starts_with("state ")).count();
    let dumps = dumps.min(declared);
    let mut first: Option<(Vec<String>, Checkpoint)> = None;
    for from in FAMILY {
        let (answers, savepoint) =
            run(from, &script, dumps).map_err(|why| format!("{}: {why}", from.name))?;
        if let Some((expected, other)) = &first {
            if *expected != answers {
                return Err(format!("{}: {answers:?} in place of {expected:?}", from.name));
            }
            if bytes(other) != bytes(&savepoint) {
                return Err(format!(
                    "the savepoint of {} differs from that of {}",
                    from.name, FAMILY[0].name
                ));
            }
        }
        for to in FAMILY {
            let restored = restore(to, &script, dumps, &savepoint, parallelism)
                .map_err(|why| format!("{} to {}: {why}", from.name, to.name))?;
            if restored != answers {
                return Err(format!("{} to {}: {restored:?} in place of {answers:?}", from.name, to.name));
            }
        }
        first.get_or_insert((answers, savepoint));
    }
    Ok(())
}

/// M183: Over random schemas and programs, savepoints of all backends have the same bytes, and every backend restores
/// those of every other.
#[test]
fn m183_all_pairs_of_backends_exchange_savepoints() {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 6 };
    let mut config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    let result = TestRunner::new(config).run(&(programs(), 1..4_u16), |(program, parallelism)| {
        let groups = program.max_parallelism();
        check(&program, parallelism.min(groups)).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
