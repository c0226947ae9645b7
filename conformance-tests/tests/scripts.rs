//! The scripts in `flink/scripts` print on every backend and on the model what is stored beside them: Flink's
//! answers, and for `nulls` those of the README.

use conformance_tests::Setup;
use conformance_tests::family::FAMILY;
use conformance_tests::model::Model;
use conformance_tests::script::run;

macro_rules! scripts {
    ($($name:ident),+) => {$(
        #[test]
        fn $name() {
            check(
                include_str!(concat!("../flink/scripts/", stringify!($name), ".txt")),
                include_str!(concat!("../flink/scripts/", stringify!($name), ".expected")),
            );
        }
    )+};
}

scripts!(basic, emptied, namespaces, snapshots, timers, nulls);

fn check(script: &str, expected: &str) {
    for member in FAMILY {
        let answers = run(script, |keys, groups| (member.operator)(Setup::default(), keys, groups));
        assert_eq!(answers.expect("a whole script"), expected, "{}", member.name);
    }
    let answers = run(script, |_, groups| Ok(Box::new(Model::new(groups))));
    assert_eq!(answers.expect("a whole script"), expected, "the model");
}

#[test]
fn unsupported_commands_end_the_script() {
    let stops = |script: &str| {
        let ended = run(script, |_, groups| Ok(Box::new(Model::new(groups))));
        let error = ended.expect_err(script);
        (error.line, error.message)
    };
    assert_eq!(stops("init long 2\n\n# comment\nsavepoint s1"), (4, "savepoint is not built yet".to_owned()));
    assert_eq!(stops("init long 2\ntimers t\nbackend heap"), (3, "backend is not built yet".to_owned()));
    assert_eq!(stops("state v value long ttl=x").0, 1);
    assert_eq!(stops("key 1"), (1, "init comes first".to_owned()));
    assert_eq!(stops("init long 2\nvalue.get v").0, 2);
    assert_eq!(stops("init long 2\nrestore s1").1, "no such snapshot: s1");
}
