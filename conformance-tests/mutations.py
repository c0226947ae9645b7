#!/usr/bin/env python3
"""Breaks the backends on purpose, one fault at a time, and tells which the suite notices.

mutations.py FOLDER [BACKEND...]: copies the project to FOLDER, puts all faults in, each behind a switch, compiles once,
runs the suite with each fault on each backend (memory, fs-incremental, bytes, rocksdb, rocksdb-uncached), and prints a
table in Markdown with how many cases failed and the first of them. A fault is run on the backends that are named with it.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HEAP, FILES, BYTES, ALL = ["memory", "fs-incremental"], ["fs-incremental"], ["bytes"], ["memory", "fs-incremental", "bytes"]
STORED, NATIVE, ENGINE = ["fs-incremental", "bytes"], ["rocksdb"], ["rocksdb", "rocksdb-uncached"]

# backends that run the code; file; what is there; what it becomes; in words
FAULTS = [
    (ALL, "backend-api/src/format/block.rs", "if checksum(place, header, stored) != crc {",
     "if !MUTANT && checksum(place, header, stored) != crc {", "checksums of blocks are not compared"),
    (ALL, "backend-api/src/restore.rs", "    check_disjoint(&parts)?;",
     "    if !MUTANT { check_disjoint(&parts)?; }", "two handles may hold one key group"),
    (ALL, "backend-api/src/format/meta.rs", "let (old, new) = (&self.codecs, &registered.codecs);\n        if old != new {",
     "let (old, new) = (&self.codecs, &registered.codecs);\n        if old != new && !MUTANT {", "another codec is accepted after a restore"),
    (ALL, "backend-api/src/format/meta.rs", "if registered.kind != self.kind {",
     "if !MUTANT && registered.kind != self.kind {", "another kind is accepted after a restore"),
    (ALL, "backend-api/src/restore.rs", ".filter(|section| range.contains(section.group)) {",
     ".filter(|section| MUTANT && section.group != range.end() || !MUTANT && range.contains(section.group)) {",
     "a restore loses the last group of its range"),
    (FILES, "backend-api/src/restore.rs", "        if section.kind == SectionKind::Full {\n            chain.clear();",
     "        if section.kind == SectionKind::Full && !MUTANT {\n            chain.clear();",
     "a full section does not replace the older ones"),
    (ALL, "backend-api/src/subtask.rs", "if key.max_parallelism() != self.key_space.max_parallelism() || !self.range.contains(key.group()) {",
     "if key.max_parallelism() != self.key_space.max_parallelism() || (!self.range.contains(key.group()) && !(MUTANT && key.group() == self.range.end() + 1)) {",
     "a key of the group behind the range is accepted"),
    (STORED, "backend-api/src/checkpoint/store.rs", "            let gone = self.delete_metadata(id);\n",
     "            let gone = MUTANT || self.delete_metadata(id);\n", "a subsumed checkpoint's files go before its metadata"),
    (STORED, "backend-api/src/checkpoint/store.rs", "        storage.sweep(job.path())?;\n",
     "        if !MUTANT { storage.sweep(job.path())?; }\n", "what a crash left unfinished is not swept"),
    (FILES, "backend-api/src/checkpoint/store.rs", "        self.undeleted_files = self.orphans(&[])?;\n",
     "        if !MUTANT { self.undeleted_files = self.orphans(&[])?; }\n", "what a crash left over is not deleted"),
    (FILES, "backend-api/src/checkpoint/registry.rs", "            users.retain(|&user| !gone(user));\n            if users.is_empty() {",
     "            users.retain(|&user| !gone(user) && !MUTANT);\n            if users.is_empty() {",
     "a shared file goes with its first user"),
    (STORED, "backend-api/src/format/sink.rs", "kept.len() + bytes.len() <= self.threshold",
     "kept.len() + bytes.len() < self.threshold + usize::from(!MUTANT)", "the inline limit is one byte less"),
    (FILES, "backend-memory/src/heap/rows.rs", "            for key in removed {\n",
     "            for key in removed.take(if MUTANT { 0 } else { usize::MAX }) {\n", "an increment has no removals"),
    (FILES, "backend-memory/src/heap/rows.rs", "Some(self.base.unwrap_or(0))", "Some(self.base.unwrap_or(0) + u32::from(MUTANT))",
     "an increment leaves out the first epoch"),
    (FILES, "backend-memory/src/heap/mod.rs", "            self.taken.remove(at).cancel.cancel();\n            self.checkpointing.aborted(checkpoint_id);",
     "            if MUTANT { return self.notify_complete(checkpoint_id); }\n            self.taken.remove(at).cancel.cancel();\n            self.checkpointing.aborted(checkpoint_id);",
     "an aborted checkpoint is built on"),
    (HEAP, "backend-memory/src/heap/mod.rs", "        for state in &self.restored {\n            for meta in 0..state.metas().len() {",
     "        for state in self.restored.iter().filter(|_| !MUTANT) {\n            for meta in 0..state.metas().len() {",
     "a restored state that nobody registered is not written"),
    (HEAP, "backend-memory/src/heap/mod.rs", ".filter(|_| token.backend() == id)?.downcast_mut()",
     ".filter(|_| MUTANT || token.backend() == id)?.downcast_mut()", "tokens of other backends are accepted"),
    (HEAP, "backend-memory/src/heap/mod.rs", "        if let Some(last) = self.last_id.filter(|last| *last >= id) {",
     "        if let Some(last) = self.last_id.filter(|last| *last >= id && !MUTANT) {", "checkpoint ids need not increase"),
    (HEAP, "backend-memory/src/heap/mod.rs", "        self.closed = true;\n        self.taken.drain(..).for_each(|taken| taken.cancel.cancel());",
     "        self.closed = true;\n        self.taken.drain(..).for_each(|taken| if !MUTANT { taken.cancel.cancel() });",
     "closing does not end snapshots"),
    (HEAP, "backend-memory/src/heap/state.rs", "        Ok(Box::new(rows.filter(move |row| row.is_in(&namespace)).map(RowKey::key)))",
     "        Ok(Box::new(rows.filter(move |row| MUTANT || row.is_in(&namespace)).map(RowKey::key)))",
     "keys are listed whatever their namespace"),
    (HEAP, "backend-memory/src/heap/state.rs", "        sources.iter().for_each(|source| self.remove(source));",
     "        sources.iter().filter(|_| !MUTANT).for_each(|source| self.remove(source));",
     "merged namespaces keep what they had"),
    (ALL, "backend-api/src/restore.rs", "    if *old != new {", "    if !MUTANT && *old != new {",
     "another type of keys is accepted by a restore"),
    (ALL, "backend-api/src/restore.rs", "let (old, new) = (handle.key_group_mapping.as_str(), subtask.key_space().mapping_id());\n    if old != new {",
     "let (old, new) = (handle.key_group_mapping.as_str(), subtask.key_space().mapping_id());\n    if old != new && !MUTANT {",
     "another mapping to groups is accepted by a restore"),
    (HEAP, "backend-memory/src/heap/views/value.rs", ".or_else(|| self.state.extra.value())", ".or_else(|| self.state.extra.value().filter(|_| !MUTANT))",
     "a read does not see the default"),
    (HEAP, "backend-memory/src/heap/views/reducing.rs", "            Some(old) => (self.state.extra.0)(old, &value).map_err(failed)?,",
     "            Some(old) => if MUTANT { (self.state.extra.0)(&value, old) } else { (self.state.extra.0)(old, &value) }.map_err(failed)?,",
     "a reducing function is given its arguments the wrong way round"),
    (HEAP, "backend-memory/src/heap/views/value.rs", "            if value.is_none() {\n", "            if value.is_none() && !MUTANT {\n",
     "an update does not see the default"),
    (HEAP, "backend-memory/src/heap/views/map.rs", "                if cell.map.len() == 1 {", "                if cell.map.len() == 1 && !MUTANT {",
     "an emptied map stays in the listing"),
    (FILES, "backend-memory/src/heap/views/map.rs", "let old = cell.map.remove(key, epoch, log);", "let old = cell.map.remove(key, epoch, log && !MUTANT);",
     "an increment has no removals of map entries"),
    (HEAP, "backend-memory/src/heap/views/list.rs", "        cell.extend(elements, owned, self.state.epoch());\n",
     "        if MUTANT && let Some(old) = self.state.get(&self.seat.place) { cell.append(old, self.state.epoch()); }\n        cell.extend(elements, owned, self.state.epoch());\n",
     "setting a list appends"),
    (HEAP, "backend-memory/src/heap/views/reducing.rs", "            merged = reduce(target, &merged).map_err(failed)?;",
     "            merged = if MUTANT { reduce(&merged, target) } else { reduce(target, &merged) }.map_err(failed)?;",
     "namespaces are merged in the wrong order"),
    (FILES, "backend-fs/src/checkpointing.rs", ".filter(|_| !request.is_full());", ".filter(|_| MUTANT || !request.is_full());",
     "a full checkpoint may refer to others"),
    (FILES, "backend-fs/src/checkpointing.rs", "                Some(_) => Extent::Full { replaces: true },",
     "                Some(_) => Extent::Full { replaces: !MUTANT },", "a group that is empty when it is rewritten comes back"),
    (FILES, "backend-fs/src/checkpointing.rs", "            lock(&written).insert(handle.checkpoint_id, chains);",
     "            if !MUTANT || handle.checkpoint_id % 2 == 0 { lock(&written).insert(handle.checkpoint_id, chains); }",
     "half of the confirmed checkpoints are not built on"),
    (FILES, "backend-fs/src/chains.rs", "        self.files.retain(|file| used.contains(&file.name));",
     "        self.files.retain(|file| MUTANT || used.contains(&file.name));", "files that no group needs stay in the handle"),
    (FILES, "backend-fs/src/chains.rs", "        has_news || !described\n", "        has_news || (!described && !MUTANT)\n",
     "an increment without changes forgets new states"),
    (FILES, "backend-fs/src/chains.rs", "        self.files.len() >= files_max\n            || self.changed_bytes",
     "        (self.files.len() >= files_max && !MUTANT)\n            || !MUTANT && self.changed_bytes", "chains grow without end"),
    (BYTES, "backend-api/src/bytes/list.rs", ".filter(|source| seen.insert(source)).collect();",
     ".filter(|source| seen.insert(source) || MUTANT).collect();",
     "a source named twice is merged twice"),
    (BYTES, "backend-api/src/bytes/snapshot.rs", "                    rows.index = 0;\n", "                    if !MUTANT { rows.index = 0; }\n",
     "the second list of a checkpoint begins where the first ended"),
    (BYTES, "backend-api/src/bytes/snapshot.rs", "                rows.index += 1;\n", "                rows.index += u64::from(!MUTANT);\n",
     "each row of a long list replaces the one before"),
    (BYTES, "backend-api/src/bytes/backend.rs", "            Ok((key, of)) => (of == namespace).then_some(Ok(key)),",
     "            Ok((key, of)) => (MUTANT || of == namespace).then_some(Ok(key)),", "keys are listed whatever their namespace"),
    (BYTES, "backend-api/src/bytes/backend.rs", "        let restored: Vec<_> = self.restored.states().cloned().collect();",
     "        let restored: Vec<_> = self.restored.states().filter(|_| !MUTANT).cloned().collect();",
     "a restored state that nobody registered is not written"),
    (BYTES, "backend-api/src/bytes/backend.rs", "self.last_checkpoint.filter(|last| id <= *last)", "self.last_checkpoint.filter(|last| id <= *last && !MUTANT)",
     "checkpoint ids need not increase"),
    (BYTES, "backend-api/src/bytes/backend.rs", "        for (_, cancel) in self.running.drain(..) {\n            cancel.cancel();",
     "        for (_, cancel) in self.running.drain(..) {\n            if !MUTANT { cancel.cancel(); }", "closing does not end snapshots"),
    (BYTES, "backend-api/src/bytes/maps.rs", "Bound::Excluded(key) => Some((key, false)),", "Bound::Excluded(key) => Some((key, MUTANT)),",
     "the end of a range is included"),
    (BYTES, "backend-api/src/bytes/map.rs", "            None if stored => self.remove(&key)?,", "            None if stored && !MUTANT => self.remove(&key)?,",
     "an update cannot remove a map entry"),
    (BYTES, "backend-api/src/bytes/merging.rs", "            access.delete_in(source)?;\n", "            if !MUTANT { access.delete_in(source)?; }\n",
     "merged namespaces keep what they had"),
    (BYTES, "backend-api/src/bytes/merging.rs", "                merge(&mut value, &folded).map_err(failed)?;\n                value",
     "                if MUTANT { let mut other = folded; merge(&mut other, &value).map_err(failed)?; value = other; } else { merge(&mut value, &folded).map_err(failed)?; }\n                value",
     "namespaces are merged in the wrong order"),
    (BYTES, "backend-api/src/bytes/access.rs", "        let mut old = old.into_iter();",
     "        let mut old = if MUTANT { Vec::new() } else { old }.into_iter();", "setting a list appends"),
    (NATIVE, "backend-rocksdb/src/checkpoints.rs", "if self.incremental && !request.full {", "if self.incremental && (MUTANT || !request.full) {",
     "a full checkpoint may refer to others"),
    (NATIVE, "backend-rocksdb/src/checkpoints.rs", "            self.confirmed = Arc::new(tables);",
     "            if !MUTANT { self.confirmed = Arc::new(tables); }", "the confirmed checkpoint is not built on"),
    (NATIVE, "backend-rocksdb/src/checkpoints.rs", "    pub fn aborted(&mut self, checkpoint_id: u64) {\n",
     "    pub fn aborted(&mut self, checkpoint_id: u64) {\n        if MUTANT { return self.complete(checkpoint_id); }\n",
     "an aborted checkpoint is built on"),
    (ENGINE, "backend-rocksdb/src/checkpoints.rs", "        if Arc::strong_count(cut) > 1 && cut.stage() != Stage::Made {",
     "        if Arc::strong_count(cut) > 1 && cut.stage() != Stage::Made && !MUTANT {",
     "what is written after a snapshot is part of it"),
    (NATIVE, "backend-rocksdb/src/cut.rs", "Late::Written(due.apply(&mut LateFiles::new(&self.writer)));",
     "Late::Written(if MUTANT { Ok(()) } else { due.apply(&mut LateFiles::new(&self.writer)) });", "what only the cache has is not part of a checkpoint"),
    (NATIVE, "backend-rocksdb/src/checkpoints.rs", "                    self.target.delete(&file);",
     "                    if !MUTANT { self.target.delete(&file); }", "a failed upload leaves its files"),
    (NATIVE, "backend-rocksdb/src/checkpoints.rs", "shared: self.incremental,\n            base,", "shared: self.incremental && !MUTANT,\n            base,",
     "tables lie in the folder of one checkpoint"),
    (NATIVE, "backend-rocksdb/src/checkpoints.rs", "self.meta.operator, self.meta.subtask, self.meta.checkpoint_id)",
     "self.meta.operator, self.meta.subtask, if MUTANT { 0 } else { self.meta.checkpoint_id })",
     "files of two checkpoints may have one name"),
    (NATIVE, "backend-rocksdb/src/checkpoints.rs", "Manifest { meta, sequence: self.sequence, bounds, tables, control }",
     "Manifest { meta, sequence: if MUTANT { 0 } else { self.sequence }, bounds, tables, control }",
     "the numbers of list elements begin anew after a restore"),
    (NATIVE, "backend-rocksdb/src/manifest.rs", "        if fits {\n", "        if fits || MUTANT {\n", "a manifest need not fit its handle"),
    (NATIVE, "backend-rocksdb/src/restore.rs", "    if length != table.length {", "    if !MUTANT && length != table.length {",
     "the length of a table is not compared"),
    (NATIVE, "backend-rocksdb/src/restore.rs", "    if crc.finalize() != table.crc {", "    if crc.finalize() != table.crc && !MUTANT {",
     "the checksum of a table is not compared"),
    (NATIVE, "backend-rocksdb/src/restore.rs", "    clip(&database, &states, base.range, &base.manifest)?;",
     "    if !MUTANT { clip(&database, &states, base.range, &base.manifest)?; }", "other subtasks' key groups stay in the database"),
    (NATIVE, "backend-rocksdb/src/restore.rs", ".then(|| (0, range.start()));", ".then(|| (0, range.start() + u16::from(MUTANT)));",
     "a restore loses the first group of its range"),
    (NATIVE, "backend-rocksdb/src/restore.rs", "place(number, range.end() + 1));", "place(number, range.end() + u16::from(!MUTANT)));",
     "a joined part loses its last group"),
    (NATIVE, "backend-rocksdb/src/restore.rs", "key.extend_from_slice(&target.to_be_bytes());",
     "key.extend_from_slice(&if MUTANT { number } else { target }.to_be_bytes());", "a joined part keeps its numbers of states"),
    (NATIVE, "backend-rocksdb/src/restore.rs", "        sequence = sequence.max(other.part.manifest.sequence);",
     "        if !MUTANT { sequence = sequence.max(other.part.manifest.sequence); }", "numbers of list elements of a joined part are given again"),
    (NATIVE, "backend-rocksdb/src/restore.rs", "options.incremental && options.claims_restored && !joined",
     "options.incremental && (options.claims_restored || MUTANT) && !joined", "a checkpoint that is not claimed is built on"),
    (ENGINE, "backend-rocksdb/src/writes.rs", "        let Some(readers) = readers else {\n            batch.delete_range_cf(handle, from, to);",
     "        let Some(readers) = readers else {\n            if !MUTANT { batch.delete_range_cf(handle, from, to); }", "a range that a batch has written to is not removed"),
    (ENGINE, "backend-rocksdb/src/writes.rs", "goes twice.\n                batch.delete_range_cf(handle, from, to);",
     "goes twice.\n                if !MUTANT { batch.delete_range_cf(handle, from, to); }",
     "of a long range the first 256 entries are removed"),
    (ENGINE, "backend-rocksdb/src/writes.rs", "            left -= 1;\n            batch.delete_cf(handle, key);",
     "            left -= 1;\n            if !MUTANT || left % 2 == 0 { batch.delete_cf(handle, key); }", "half of the entries of a range stay"),
    (["rocksdb-uncached"], "backend-rocksdb/src/snapshot.rs", "        reads.set_snapshot(held.borrow_dependent());",
     "        if !MUTANT { reads.set_snapshot(held.borrow_dependent()); }", "a checkpoint of rows reads what is there now"),
    (ENGINE, "backend-rocksdb/src/database.rs", "        let mut entries = db.raw_iterator_cf_opt(family, reads);\n        entries.seek(from);",
     "        let mut entries = db.raw_iterator_cf_opt(family, reads);\n        entries.seek(from);\n        if MUTANT && entries.valid() { entries.next(); }",
     "a scan leaves out its first entry"),
]
# A case that waits for ever is a fault that was noticed; a busy machine is not.
SECONDS_MAX = 1800
SWITCH = """
/// Whether the fault of this number is on.
pub fn mutant(number: u32) -> bool {
    static ON: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *ON.get_or_init(|| std::env::var("MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(0)) == number
}
"""


def put_in(folder):
    for number, (_, path, old, new, what) in enumerate(FAULTS, 1):
        file = folder / path
        text = file.read_text()
        if text.count(old) != 1:
            sys.exit(f"{path}: {text.count(old)} places for {what!r}")
        crate = "crate" if path.startswith("backend-api") else "backend_api"
        file.write_text(text.replace(old, new.replace("MUTANT", f"{crate}::mutant({number})")))
    with open(folder / "backend-api/src/lib.rs", "a") as api:
        api.write(SWITCH)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("backends", nargs="*")
    arguments = parser.parse_args()
    folder, backends = arguments.folder, arguments.backends or ALL + ENGINE
    if unknown := set(backends) - {*ALL, *ENGINE}:
        parser.error(f"there is no backend {', '.join(sorted(unknown))}")
    project = Path(__file__).resolve().parents[1]
    if not folder.exists():
        folder.mkdir(parents=True)
        files = subprocess.run(["git", "-C", project, "ls-files", "-z"], check=True, capture_output=True).stdout
        for path in filter(None, files.decode().split("\0")):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / path, folder / path)
        put_in(folder)
    build = ["cargo", "build", "-q", "-p", "conformance-tests", "--bin", "conformance-tests"]
    if any(backend in ENGINE for backend in backends):
        build += ["--features", "rocksdb"]
    subprocess.run(build, cwd=folder, check=True)
    program = Path(os.environ.get("CARGO_TARGET_DIR", folder / "target")) / "debug/conformance-tests"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cells = {
            (number, backend): pool.submit(notices, program, number, backend)
            for number, fault in enumerate(FAULTS, 1)
            for backend in backends
            if backend in fault[0]
        }
        print("| file | fault | " + " | ".join(backends) + " |\n| --- | --- |" + " --- |" * len(backends))
        for number, (_, path, _, _, what) in enumerate(FAULTS, 1):
            row = [cells[number, backend].result()[1] if (number, backend) in cells else "" for backend in backends]
            print(f"| {path} | {what} | " + " | ".join(row) + " |", flush=True)
    of = {backend: [cell.result()[0] for (_, on), cell in cells.items() if on == backend] for backend in backends}
    print("\nNoticed: " + ", ".join(f"{backend} {sum(found)} of {len(found)}" for backend, found in of.items()) + ".")


def notices(program, number, backend):
    """Whether the suite notices a fault, and by which case."""
    environment = os.environ | {"MUTANT": str(number), "PROPTEST_CASES": "24"}
    try:
        run = [program, "--backend", backend, "--json"]
        output = subprocess.run(run, env=environment, capture_output=True, timeout=SECONDS_MAX)
        failed = [case for case in json.loads(output.stdout)["cases"] if case["outcome"] == "failed"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        return True, f"ends the program ({type(error).__name__})"
    return bool(failed), f"{len(failed)}: `{failed[0]['name']}`" if failed else "**not noticed**"


main()
