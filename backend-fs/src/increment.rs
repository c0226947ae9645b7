//! Writing an incremental checkpoint.

use std::collections::BTreeSet;

use backend_api::format::CheckpointWriter;
use backend_api::{AttemptTarget, Cancel, KeyedStateHandle, Progress, Result};
use backend_memory::heap::{Extent, HeapSnapshot, StateSnapshot};

use crate::chains::{Chain, Chains, SECTION_BYTES};

/// The content of a checkpoint, decided before the file is started.
struct Plan {
    /// The chains that the checkpoint builds on, without groups that became empty.
    chains: Chains,
    /// The key groups to write for each state, ascending: groups that changed, and groups that are empty now
    /// but have rows in older files.
    groups: Vec<Vec<u16>>,
    /// True if the file is needed even if no group writes anything.
    is_news: bool,
}

/// Writes the changes since `base` into a file of `target`, or everything if there is no base. Returns the
/// handle and the chains for the next checkpoint.
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

/// Writes one key group, and returns its rows and bytes, or `None` if there was nothing to write.
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

/// Plans the changes on top of `base`. Returns `None` if a full checkpoint is smaller than the list of empty
/// groups.
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
        // If no file in the handle still has rows of an emptied group, there is nothing to replace.
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

/// The chains that keep using files of the base. Groups that are written in full do not.
fn without_rewritten(heap: &mut HeapSnapshot, chains: &Chains, groups: &[Vec<u16>]) -> Result<Chains> {
    let mut kept = chains.clone();
    let metas = heap.meta().states.clone();
    for ((state, meta), groups) in heap.states().zip(&metas).zip(groups) {
        for group in groups {
            let extent = Chain::extent(chains.get(&meta.name, *group), *group, state)?;
            if matches!(extent, Extent::Full { .. }) {
                kept.remove(&meta.name, *group);
                // A group with entries is always written, and so the new file describes the states.
                kept.forget_description();
            }
        }
    }
    Ok(kept)
}

/// Plans a full checkpoint.
fn plan_full(heap: &mut HeapSnapshot) -> Plan {
    let mut chains = Chains::default();
    let metas = heap.meta().states.clone();
    let is_news = chains.describe(&metas);
    let groups = heap.states().map(|state| state.groups()).collect();
    Plan { chains, groups, is_news }
}
