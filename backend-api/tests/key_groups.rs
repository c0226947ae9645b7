//! Key groups and ranges as Flink computes them: `key-groups/*.tsv` are answers of Flink itself.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail as the tests do")]

use backend_api::{
    Borrowed, Error, ErrorKind, JavaHash, KeyGroupRange, KeySpace, LookupKey, StateKey,
    default_max_parallelism, flink_group, resolve_max_parallelism, subtask_of_group,
};

const KEY_GROUPS: &str = include_str!("key-groups/key-group-vectors.tsv");
const RANGES: &str = include_str!("key-groups/operator-range-vectors.tsv");
const MAX_PARALLELISMS: [u16; 8] = [1, 2, 10, 127, 128, 1000, 4096, 32768];

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| line.split('\t').collect())
}

fn percent_decoded(text: &str) -> String {
    if text == "\"\"" {
        return String::new();
    }
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

fn check_row<K: StateKey>(key: K, hash: i32, groups: &[u16])
where
    Borrowed<K>: JavaHash,
{
    assert_eq!(key.lookup().java_hash(), hash);
    for (max, group) in MAX_PARALLELISMS.into_iter().zip(groups) {
        assert_eq!(flink_group(hash, max), *group);
        assert_eq!(KeySpace::flink(max).unwrap().key(&key).unwrap().group(), *group);
    }
}

#[test]
fn keys_have_flinks_groups() {
    let mut count = 0;
    for row in rows(KEY_GROUPS) {
        let [kind, key, hash, groups @ ..] = &row[..] else { panic!("{row:?}") };
        let hash = hash.parse().unwrap();
        let groups: Vec<u16> = groups.iter().map(|group| group.parse().unwrap()).collect();
        assert_eq!(groups.len(), MAX_PARALLELISMS.len());
        match *kind {
            "int" => check_row::<i32>(key.parse().unwrap(), hash, &groups),
            "long" => check_row::<i64>(key.parse().unwrap(), hash, &groups),
            "string" => check_row(percent_decoded(key), hash, &groups),
            _ => panic!("{row:?}"),
        }
        count += 1;
    }
    assert_eq!(count, 202);
}

#[test]
fn ranges_and_defaults_match_flink() {
    let (mut ranges, mut defaults) = (0, 0);
    for row in rows(RANGES) {
        let number = |column: usize| row[column].parse::<u16>().unwrap();
        let (max, parallelism) = (number(1), number(2));
        match row[0] {
            "range" => {
                let range = KeyGroupRange::of_subtask(max, parallelism, number(3)).unwrap();
                assert_eq!(range, KeyGroupRange::new(number(4), number(5)).unwrap(), "{row:?}");
                assert!(range.iter().all(|g| subtask_of_group(max, parallelism, g).unwrap() == number(3)));
                ranges += 1;
            }
            "default" => {
                assert_eq!(default_max_parallelism(parallelism).unwrap(), max, "{row:?}");
                defaults += 1;
            }
            _ => panic!("{row:?}"),
        }
    }
    assert_eq!((ranges, defaults), (812, 19));
}

/// Behaviour 83.
#[test]
fn hashes_have_flinks_groups() {
    let vectors = [(54, 10, 7), (57, 10, 8), (51, 10, 9), (97, 10, 1), (98, 10, 8)];
    let more = [(0, 128, 94), (1, 128, 86), (2, 128, 127)];
    for (hash, max, group) in vectors.into_iter().chain(more) {
        assert_eq!(flink_group(hash, max), group, "{hash}/{max}");
    }
    assert_eq!(flink_group(54, 0), 0);
    // Mixed, it is the one number without an absolute value.
    assert_eq!(flink_group(-2_089_875_627, 1000), 0);
}

/// Behaviour 86.
#[test]
fn ranges_of_all_subtasks() {
    let shown = |max, parallelism| {
        let ranges = (0..parallelism).map(|i| KeyGroupRange::of_subtask(max, parallelism, i).unwrap());
        ranges.map(|range| range.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(10, 3), "0-3 4-6 7-9");
    assert_eq!(shown(128, 3), "0-42 43-85 86-127");
    assert_eq!(shown(13, 4), "0-3 4-6 7-9 10-12");
    assert_eq!(shown(5, 4), "0-1 2-2 3-3 4-4");
}

#[test]
fn ranges_partition_the_groups() {
    for max in 1..=130 {
        for parallelism in 1..=max {
            let ranges = (0..parallelism).map(|i| KeyGroupRange::of_subtask(max, parallelism, i).unwrap());
            assert!(ranges.flatten().eq(0..max), "{max} over {parallelism}");
        }
    }
}

/// Behaviour 88.
#[test]
fn numbers_out_of_bounds_are_invalid_arguments() {
    let invalid =
        |result: Result<u16, Error>| assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let end =
        |max, parallelism, index| KeyGroupRange::of_subtask(max, parallelism, index).map(KeyGroupRange::end);
    for (max, parallelism) in [(128, 0), (128, 129), (32768, 32769), (0, 0), (32769, 1), (u16::MAX, 1)] {
        invalid(end(max, parallelism, 0));
        invalid(subtask_of_group(max, parallelism, 0));
    }
    invalid(end(128, 4, 4));
    invalid(subtask_of_group(128, 4, 128));
    assert_eq!(end(32768, 32768, 32767).unwrap(), 32767);
    assert_eq!(subtask_of_group(32768, 32768, 32767).unwrap(), 32767);
    invalid(KeyGroupRange::new(4, 3).map(KeyGroupRange::end));
    invalid(KeyGroupRange::new(0, 32768).map(KeyGroupRange::end));
    invalid(KeyGroupRange::all(0).map(KeyGroupRange::end));
    invalid(KeyGroupRange::all(32769).map(KeyGroupRange::end));
    invalid(default_max_parallelism(0));
    invalid(default_max_parallelism(32769));
}

/// Behaviour 89.
#[test]
fn default_max_parallelisms() {
    let defaults = [1, 85, 86, 171, 20000, 32768].map(|p| default_max_parallelism(p).unwrap());
    assert_eq!(defaults, [128, 128, 256, 256, 32768, 32768]);
}

/// Behaviours 151 and 152.
#[test]
fn max_parallelism_comes_from_the_snapshot() {
    assert_eq!(resolve_max_parallelism(None, 4, Some(64)).unwrap(), 64);
    assert_eq!(resolve_max_parallelism(Some(64), 4, Some(64)).unwrap(), 64);
    assert_eq!(resolve_max_parallelism(Some(64), 4, None).unwrap(), 64);
    assert_eq!(resolve_max_parallelism(None, 86, None).unwrap(), 256);
    assert_eq!(resolve_max_parallelism(None, 8, Some(8)).unwrap(), 8);

    let error = resolve_max_parallelism(Some(64), 4, Some(128)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    assert!(error.message().contains("64") && error.message().contains("128"), "{error}");
    let error = resolve_max_parallelism(None, 9, Some(8)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    assert!(error.message().contains('9') && error.message().contains('8'), "{error}");

    for (explicit, parallelism, restored) in
        [(Some(0), 1, None), (Some(32769), 1, None), (Some(4), 5, None), (None, 0, None), (None, 1, Some(0))]
    {
        let error = resolve_max_parallelism(explicit, parallelism, restored).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}

#[test]
fn a_range_is_a_set_of_groups() {
    let range = |start, end| KeyGroupRange::new(start, end).unwrap();
    let groups = range(4, 6);
    assert_eq!((groups.start(), groups.end(), groups.len()), (4, 6, 3));
    assert_eq!((3..8).filter(|group| groups.contains(*group)).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(KeyGroupRange::all(32768).unwrap().len(), 32768);
    for a in 0..6 {
        for b in a..6 {
            let expected: Vec<u16> = (a..=b).filter(|group| (2..=3).contains(group)).collect();
            let both = range(a, b).intersection(range(2, 3));
            assert_eq!(both.map_or(Vec::new(), |both| both.iter().collect()), expected);
            assert_eq!(both, range(2, 3).intersection(range(a, b)));
        }
    }
}

#[test]
fn a_serialized_range_is_checked() {
    let bytes = postcard::to_allocvec(&KeyGroupRange::new(3, 300).unwrap()).unwrap();
    assert_eq!(postcard::from_bytes::<KeyGroupRange>(&bytes).unwrap().to_string(), "3-300");
    let reversed = postcard::to_allocvec(&(300_u16, 3_u16)).unwrap();
    assert!(postcard::from_bytes::<KeyGroupRange>(&reversed).is_err());
}
