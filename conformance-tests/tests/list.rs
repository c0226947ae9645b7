//! The lists of cases are complete: all cases are listed, `BEHAVIOURS.md` describes each, and its numbers are right.

/// The source of each group.
const SOURCES: [(&str, &str); 21] = [
    ("values", include_str!("../src/cases/values.rs")),
    ("lists", include_str!("../src/cases/lists.rs")),
    ("maps", include_str!("../src/cases/maps.rs")),
    ("reducing", include_str!("../src/cases/reducing.rs")),
    ("aggregating", include_str!("../src/cases/aggregating.rs")),
    ("namespaces", include_str!("../src/cases/namespaces.rs")),
    ("key_context", include_str!("../src/cases/key_context.rs")),
    ("operator", include_str!("../src/cases/operator.rs")),
    ("raw", include_str!("../src/cases/raw.rs")),
    ("isolation", include_str!("../src/cases/isolation.rs")),
    ("restore", include_str!("../src/cases/restore.rs")),
    ("incremental", include_str!("../src/cases/incremental.rs")),
    ("savepoints", include_str!("../src/cases/savepoints.rs")),
    ("limits", include_str!("../src/cases/limits.rs")),
    ("lifecycle", include_str!("../src/cases/lifecycle.rs")),
    ("ttl", include_str!("../src/cases/ttl.rs")),
    ("timers", include_str!("../src/cases/timers.rs")),
    ("types", include_str!("../src/cases/types.rs")),
    ("evolution", include_str!("../src/cases/evolution.rs")),
    ("faults", include_str!("../src/cases/faults.rs")),
    ("model", include_str!("../src/cases/model.rs")),
];

const MODULES: &str = include_str!("../src/cases/mod.rs");
const BEHAVIOURS: &str = include_str!("../BEHAVIOURS.md");
const SCHEMA_EVOLUTION: &str = include_str!("../../docs/schema-evolution.md");

fn listed() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups = Vec::new();
    conformance_tests::for_each_group! { names! groups; }
    groups
}

/// The functions of a source, each with the first line of its documentation.
fn functions(source: &str) -> Vec<(&str, &str)> {
    let mut documentation = "";
    let mut functions = Vec::new();
    for (line, before) in source.lines().skip(1).zip(source.lines()) {
        if line.starts_with("/// ") && !before.starts_with("/// ") {
            documentation = line;
        }
        if let Some(name) = line.strip_prefix("pub fn ").and_then(|rest| rest.split(['<', '(']).next()) {
            functions.push((name, documentation));
        }
    }
    functions
}

#[test]
fn every_group_is_listed() {
    let groups: Vec<_> = listed().into_iter().map(|(group, _)| group).collect();
    assert_eq!(groups, SOURCES.map(|(group, _)| group));
    let modules = MODULES.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut sorted = groups;
    sorted.sort_unstable();
    assert_eq!(modules.collect::<Vec<_>>(), sorted);
}

#[test]
fn every_case_is_listed_once_and_in_order() {
    for ((group, cases), (_, source)) in listed().into_iter().zip(SOURCES) {
        let names: Vec<_> = functions(source).into_iter().map(|(name, _)| name).collect();
        assert!(!names.is_empty(), "{group}");
        assert_eq!(cases, names, "{group}");
    }
}

#[test]
fn the_name_of_a_case_begins_with_its_number() {
    for (name, documentation) in SOURCES.into_iter().flat_map(|(_, source)| functions(source)) {
        let (number, _) = name.split_once('_').expect("a number before the name");
        let group = number[..1].to_uppercase();
        let number = number[1..].trim_start_matches('0');
        let digits = number.trim_end_matches(char::is_alphabetic);
        // A letter distinguishes cases of one behaviour.
        let begins = [number, digits].map(|number| format!("/// {group}{number}: "));
        assert!(begins.iter().any(|begin| documentation.starts_with(begin)), "{name}: {documentation}");
    }
}

#[test]
fn every_case_is_in_the_list_of_behaviours() {
    let mentioned: Vec<_> = BEHAVIOURS.split('`').collect();
    let cases: Vec<_> = listed().into_iter().flat_map(|(_, cases)| cases).collect();
    for case in &cases {
        assert!(mentioned.contains(case), "{case} is not in BEHAVIOURS.md");
    }
    let is_case = |word: &&&str| {
        let number = word.split('_').next().unwrap_or_default();
        let digits = number.get(1..).unwrap_or_default();
        word.contains('_') && digits.starts_with(|c: char| c.is_ascii_digit())
    };
    for word in mentioned.iter().filter(is_case) {
        assert!(cases.contains(word), "BEHAVIOURS.md names {word}, which is no case");
    }
}

#[test]
fn every_rule_of_schema_evolution_names_its_case() {
    let cases: Vec<_> = listed().into_iter().flat_map(|(_, cases)| cases).collect();
    let rows = SCHEMA_EVOLUTION.lines().skip_while(|line| !line.starts_with("| change of a value |")).skip(2);
    let rules: Vec<_> = rows.take_while(|line| line.starts_with("| ")).collect();
    assert!(rules.len() > 20, "{rules:?}");
    for rule in rules {
        let case = rule.strip_suffix("` |").and_then(|rule| rule.rsplit('`').next());
        assert!(case.is_some_and(|case| cases.contains(&case)), "{rule}");
    }
}

/// The numbers of the table of groups: passed and skipped cases by group and column.
fn table() -> Vec<(&'static str, Vec<(usize, usize)>)> {
    let cell = |cell: &str| -> Option<(usize, usize)> {
        let (passed, skipped) =
            cell.strip_suffix(')').and_then(|cell| cell.split_once(" (")).unwrap_or((cell, "0"));
        Some((passed.parse().ok()?, skipped.parse().ok()?))
    };
    let rows = BEHAVIOURS.lines().skip_while(|line| !line.starts_with("| group |")).skip(2);
    rows.map_while(|line| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let group = cells.next()?;
        Some((group, cells.map(|text| cell(text).expect(line)).collect()))
    })
    .collect()
}

#[test]
fn the_table_counts_every_case_of_each_group() {
    let mut rows = table();
    let (_, all) = rows.pop().filter(|(group, _)| *group == "all").expect("a last row for all groups");
    let counted: Vec<_> = rows
        .iter()
        .map(|(group, cells)| {
            let totals: Vec<_> = cells.iter().map(|(passed, skipped)| passed + skipped).collect();
            assert!(totals.iter().all(|total| *total == totals[0]), "{group}: {totals:?}");
            (*group, totals[0])
        })
        .collect();
    let cases: Vec<_> = listed().into_iter().map(|(group, cases)| (group, cases.len())).collect();
    assert_eq!(counted, cases, "the table counts, and the cases");
    for (column, all) in all.into_iter().enumerate() {
        let sum = |part: fn((usize, usize)) -> usize| {
            rows.iter().map(|(_, cells)| part(cells[column])).sum::<usize>()
        };
        assert_eq!(all, (sum(|(passed, _)| passed), sum(|(_, skipped)| skipped)), "column {column}");
    }
}

#[test]
fn the_number_of_a_case_is_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for case in listed().into_iter().flat_map(|(_, cases)| cases) {
        let number = case.split('_').next().expect("a number before the name");
        assert!(seen.insert(number), "two cases have the number {number}");
    }
}
