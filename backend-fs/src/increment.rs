//! Writing an incremental checkpoint.

use std::collections::BTreeSet;

use backend_api::format::CheckpointWriter;
use backend_api::{AttemptTarget, Cancel, KeyedStateHandle, Progress, Result};
use backend_memory::heap::{Extent, HeapSnapshot, StateSnapshot};

use crate::chains::{Chain, Chains, SECTION_BYTES};

/// What a checkpoint writes, found before the file is begun.
struct Plan {
    /// What the checkpoint builds on, without the groups that have no entries any more.
    chains: Chains,
    /// Of each state, the key groups to write, ascending: those that have changed, and those that are empty now although
    /// older files say otherwise.
    groups: Vec<Vec<u16>>,
    /// True if the file is needed even if no group writes anything.
    is_news: bool,
}

/// Writes what has changed since `base`, all of it without one, into a file of `target`, and answers the handle and what
/// the next checkpoint may build on.
pub(crate) fn write_increment(
    mut heap: HeapSnapshot,
    base: Option<&Chains>,
    target: &AttemptTarget,
    cancel: &Cancel,
    progress: &Progress,
) -> Result<(KeyedStateHandle, Chains)> {
    let meta = heap.meta().clone();
    let Plan { mut chains, groups, is_news } = match plan(&mut heap, base)? {
        Some(plan) => plan,
        None => plan_full(&mut heap),
    };
    let mut is_needed = is_news;
    let file = target.write(&meta, true, cancel, |writer| {
        for ((index, state), groups) in (0..).zip(heap.states()).zip(&groups) {
            state.prepare();
            let name = &meta.states[usize::from(index)].name;
            for group in groups {
                cancel.check()?;
                let written = write_group(state, index, name, *group, &mut chains, writer)?;
                is_needed |= written.is_some();
                let (rows, bytes) = written.unwrap_or_default();
                progress.add(rows, bytes);
            }
        }
        Ok(is_needed)
    })?;
    chains.finish(file);
    Ok((heap.handle(chains.files()), chains))
}

/// Writes one key group, and answers its rows and bytes; `None` if there was nothing to write.
fn write_group(
    state: &mut dyn StateSnapshot,
    index: u16,
    name: &str,
    group: u16,
    chains: &mut Chains,
    writer: &mut CheckpointWriter<'_>,
) -> Result<Option<(u64, u64)>> {
    let extent = match state.entries(group) {
        0 => Extent::Full { replaces: true },
        _ => Chain::extent(chains.get(name, group), group, state)?,
    };
    let before = writer.flush()?;
    let rows = state.write(group, extent, writer, index)?;
    let bytes = writer.flush()? - before;
    if rows == 0 && extent == Extent::Changes {
        return Ok(None);
    }
    chains.add(name, group, extent, bytes);
    Ok(Some((rows, bytes)))
}

/// What is written on top of `base`. `None` if all of it would be less than to say which groups are empty now.
fn plan(heap: &mut HeapSnapshot, base: Option<&Chains>) -> Result<Option<Plan>> {
    let Some(base) = base else { return Ok(None) };
    let mut chains = base.clone();
    let metas = heap.meta().states.clone();
    let is_news = chains.describe(&metas);
    let (mut groups, mut emptied) = (Vec::new(), Vec::new());
    for (index, (state, meta)) in heap.states().zip(&metas).enumerate() {
        let changed = match state.changed_groups()? {
            Some(changed) => changed,
            None => state
                .groups()
                .into_iter()
                .chain(chains.groups(&meta.name))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        };
        let (filled, empty): (Vec<u16>, Vec<u16>) =
            changed.into_iter().partition(|group| state.entries(*group) > 0);
        for group in empty {
            emptied.extend(chains.remove(&meta.name, group).map(|chain| (index, group, chain)));
        }
        groups.push(filled);
    }
    if !emptied.is_empty() {
        // Where the handle names no file any more that has rows of the group, nothing has to replace them.
        let kept = without_rewritten(heap, &chains, &groups)?;
        emptied.retain(|(.., chain)| kept.may_hold(chain));
    }
    if emptied.len() as u64 * SECTION_BYTES > chains.bytes() {
        return Ok(None);
    }
    for (index, group, _) in emptied {
        groups[index].push(group);
        groups[index].sort_unstable();
    }
    Ok(Some(Plan { chains, groups, is_news }))
}

/// The chains that go on using the files of the base: those of groups that are written in full do not.
fn without_rewritten(heap: &mut HeapSnapshot, chains: &Chains, groups: &[Vec<u16>]) -> Result<Chains> {
    let mut kept = chains.clone();
    let metas = heap.meta().states.clone();
    for ((state, meta), groups) in heap.states().zip(&metas).zip(groups) {
        for group in groups {
            let extent = Chain::extent(chains.get(&meta.name, *group), *group, state)?;
            if matches!(extent, Extent::Full { .. }) {
                kept.remove(&meta.name, *group);
                // A group with entries is written for certain, and so is the file that describes the states from now on.
                kept.forget_description();
            }
        }
    }
    Ok(kept)
}

/// All of it is written, on top of nothing.
fn plan_full(heap: &mut HeapSnapshot) -> Plan {
    let mut chains = Chains::default();
    let metas = heap.meta().states.clone();
    let is_news = chains.describe(&metas);
    let groups = heap.states().map(|state| state.groups()).collect();
    Plan { chains, groups, is_news }
}
