use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Push,
    Extend(usize),
    AppendAnother(usize),
    Truncate(usize),
    Set(usize),
    Checkpoint,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Push),
        3 => (0..6_usize).prop_map(Op::Extend),
        1 => (10..300_usize).prop_map(Op::Extend),
        2 => (0..4_usize).prop_map(Op::AppendAnother),
        2 => (0..8_usize).prop_map(Op::Truncate),
        2 => (0..6_usize).prop_map(Op::Set),
        5 => Just(Op::Checkpoint),
    ]
}

fn parts<T: StateValue>(cell: &ListCell<T>, base: Option<u32>) -> (usize, Vec<T>) {
    let mut parts = cell.parts(base).peekable();
    let first = parts.peek().map_or(cell.len(), |(start, _)| *start);
    let mut items = Vec::new();
    for (start, part) in parts {
        assert_eq!(start, first + items.len());
        items.extend_from_slice(part);
    }
    (first, items)
}

/// Compares a list and its snapshots and deltas with a `Vec`. `owned` returns the bytes that an element owns.
fn is_a_vec<T: StateValue + PartialEq + std::fmt::Debug>(
    ops: Vec<Op>,
    item: impl Fn(u64) -> T,
    owned: impl Fn(&T) -> u64,
) {
    let mut numbers = 1..;
    let mut items = |count: usize| Vec::from_iter(numbers.by_ref().take(count).map(&item));
    let sum = |items: &[T]| items.iter().map(&owned).sum::<u64>();
    let (mut cell, mut model) = (ListCell::new(), Vec::new());
    let (mut epoch, mut changed) = (1, 0);
    let mut snapshots = Vec::new();
    for op in ops {
        let before = model.clone();
        match op {
            Op::Push => {
                let item = items(1).remove(0);
                model.push(item.clone());
                let bytes = cell.bytes();
                match cell.push_within(item, epoch) {
                    Err(item) => cell.push(item, owned(model.last().unwrap()), epoch),
                    // `push_within` is for elements that own nothing. Here it is called for all, and the
                    // bytes are not counted.
                    Ok(()) => {
                        assert_eq!(cell.bytes(), bytes);
                        if let ListCell::Long(_, all) = &mut cell {
                            *all += owned(model.last().unwrap());
                        }
                    }
                }
            }
            Op::Extend(count) => {
                let new = items(count);
                cell.extend(new.clone(), sum(&new), epoch);
                model.extend(new);
            }
            Op::AppendAnother(count) => {
                let (new, mut other) = (items(count), ListCell::new());
                other.extend(new.clone(), sum(&new), 1);
                cell.append(&other, epoch);
                assert!(other.iter().eq(&new));
                model.extend(new);
            }
            Op::Truncate(len) => {
                cell.truncate(len, &owned);
                model.truncate(len);
            }
            Op::Set(count) => {
                model = items(count);
                cell = ListCell::new();
                cell.extend(model.clone(), sum(&model), epoch);
            }
            Op::Checkpoint => {
                snapshots.push((epoch, cell.clone(), model.clone()));
                epoch += 1;
            }
        }
        if model != before {
            changed = epoch;
        }
        assert_eq!((cell.len(), cell.iter().len()), (model.len(), model.len()));
        assert!(cell.iter().eq(&model));
        match &cell {
            ListCell::Short(_) => assert_eq!((cell.bytes(), sum(&model)), (0, 0)),
            ListCell::Long(list, _) => assert_eq!(cell.bytes(), list.heap_size() as u64 + sum(&model)),
        }
    }
    assert_eq!(parts(&cell, None), (0, model.clone()));
    for (base, snapshot, then) in snapshots {
        assert_eq!(parts(&snapshot, None), (0, then.clone()));
        // Deltas are requested for changed lists only.
        if changed > base {
            let (first, changes) = parts(&cell, Some(base));
            assert!(first <= then.len());
            assert_eq!([&then[..first], &changes].concat(), model);
        }
    }
}

proptest! {
    #[test]
    fn a_list_of_numbers_matches_a_vec(ops in prop::collection::vec(op(), 1..40)) {
        is_a_vec(ops.clone(), |number| number, |_| 0);
        is_a_vec(ops.clone(), |number| number as i16, |_| 0);
        is_a_vec(ops.clone(), |number| number as f32, |_| 0);
        is_a_vec(ops, |number| number % 2 == 0, |_| 0);
    }

    #[test]
    fn a_list_of_strings_matches_a_vec(ops in prop::collection::vec(op(), 1..40)) {
        is_a_vec(ops.clone(), |number| number.to_string(), |text| text.len() as u64);
        is_a_vec(ops, |number| [number; 2], |_| 0);
    }
}

#[test]
fn a_list_is_short_up_to_two_words() {
    fn length_that_is_short<T: StateValue>(item: T) -> usize {
        let mut cell = ListCell::new();
        (0..)
            .take_while(|_| {
                cell.push(item.clone(), 0, 1);
                matches!(cell, ListCell::Short(_))
            })
            .count()
    }
    assert_eq!((length_that_is_short(1_u64), length_that_is_short(1.5_f64)), (2, 2));
    assert_eq!((length_that_is_short(1_i32), length_that_is_short('x')), (4, 4));
    assert_eq!((length_that_is_short(1_u16), length_that_is_short(true)), (8, 16));
    assert_eq!((length_that_is_short(()), length_that_is_short(1_u128)), (0, 0));
    assert_eq!((length_that_is_short([1_u64; 2]), length_that_is_short(String::new())), (0, 0));
}

#[test]
fn a_list_cut_to_length_zero_is_short_again() {
    let mut cell = ListCell::new();
    cell.extend(Vec::from_iter(0..1000), 0, 1);
    cell.truncate(0, |_| 0);
    cell.extend(vec![7_u64, 8], 0, 2);
    assert!(matches!(&cell, ListCell::Short(items) if **items == [7, 8]));
}

#[test]
fn all_elements_of_a_moved_list_count_as_changed() {
    for len in [0, 3, 1_000, 100_000] {
        let mut cell = ListCell::new();
        let elements: Vec<String> = (0..len).map(|n: u32| n.to_string()).collect();
        cell.extend(elements.clone(), 5, 1);
        let moved = cell.moved(3);
        assert_eq!(parts(&moved, Some(2)), (0, elements));
        assert_eq!(parts(&cell, Some(2)).0, len as usize);
    }
}
