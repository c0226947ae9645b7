//! Finds the shape of a type from what its `Deserialize` reads.
//!
//! A pass deserializes a value from nothing. Where the type asks for a number, it gets one. Where it asks for
//! a variant, it gets one that was not visited yet. Passes repeat until every branch of every type is known.
//! Types are identified by their visitors, so recursion ends, and two types with one name are distinct. (The
//! crate `serde-reflection` works similarly, but merges such types, and counts aliases of fields as fields.)
//!
//! Further passes take the branches in other combinations. They detect and refuse types whose reading depends
//! on values read before, such as adjacently tagged enums. Types that ask the bytes for their type are
//! refused too.

mod deserializer;
mod names;
mod node;
#[cfg(test)]
mod tests;

use std::any::{TypeId, type_name};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;

use self::deserializer::{Place, Stopped};
pub(crate) use self::names::Names;
use self::node::{Branch, Form, Node};
use super::Shape;

/// The result for a type.
#[derive(Debug)]
pub(crate) struct Traced {
    pub shape: Shape,
    /// Names that its `Serialize` must agree with.
    pub names: Names,
}

/// Passes that make values of all branches, with different samples, if a type refuses some.
const ATTEMPTS: u32 = 96;
/// Most types that one type may consist of.
const NODES_MAX: usize = 2048;
const PASSES_MAX: usize = 20_000;
/// Deepest nesting of types.
const DEPTH_MAX: usize = 100;

/// Finds the shape of `T`. The error says why that is impossible.
pub(crate) fn trace<T: DeserializeOwned>() -> Result<Traced, String> {
    let mut tracer = Tracer::default();
    let found = tracer.run(&mut |place| T::deserialize(place).map(drop));
    let traced = found.and_then(|()| Ok(Traced { shape: tracer.shape()?, names: tracer.names() }));
    traced.map_err(|reason| format!("the type {} {reason}", type_name::<T>()))
}

#[derive(Default)]
struct Tracer {
    nodes: Vec<Node>,
    ids: BTreeMap<(TypeId, Form), usize>,
    root: Option<usize>,
    stack: Vec<Frame>,
    /// Number of findings. A pass that adds none makes no progress.
    progress: usize,
    /// The unknown branch that this pass visited last.
    looked_at: Option<(usize, usize)>,
    /// Branches that cannot be visited now.
    blocked: BTreeSet<(usize, usize)>,
    /// True while branches are explored, and false while they are checked in other combinations.
    exploring: bool,
    attempt: u32,
    /// Samples given out in this pass.
    given: u32,
    /// Why the type cannot be carried.
    refusal: Option<String>,
    last_error: String,
}

/// A composite node that is being read.
struct Frame {
    id: usize,
    branch: usize,
    /// Index of the part that comes next.
    part: usize,
}

type Pass<'p> = &'p mut dyn FnMut(Place<'_>) -> Result<(), Stopped>;

impl Tracer {
    fn run(&mut self, pass: Pass<'_>) -> Result<(), String> {
        self.explore(pass)?;
        self.exploring = false;
        let branches: usize = self.nodes.iter().map(|node| node.branches.len()).sum();
        for attempt in 0..(64 + 4 * branches).min(1024) {
            self.attempt = attempt as u32 + 1;
            self.pass(pass)?;
        }
        Ok(())
    }

    fn explore(&mut self, pass: Pass<'_>) -> Result<(), String> {
        self.exploring = true;
        for _ in 0..PASSES_MAX {
            let before = self.progress;
            self.pass(pass)?;
            let known = |this: &Self| this.root.is_some_and(|root| this.is_known(root));
            if known(self) {
                return Ok(());
            }
            if self.progress > before {
                self.blocked.clear();
                self.attempt = 0;
                continue;
            }
            self.blocked.extend(self.looked_at);
            let has_more = self.root.is_some_and(|root| self.has_work(root, &mut BTreeSet::new()));
            if self.looked_at.is_none() || !has_more {
                self.blocked.clear();
                self.attempt += 1;
                if self.attempt == ATTEMPTS && !self.give_up_variants() {
                    return Err(format!("refuses all values that it was tried with ({})", self.last_error));
                }
            }
        }
        Err("is too large to be looked through".to_owned())
    }

    /// Treats variants that refuse all contents (such as those of another operating system) as known, because
    /// they cannot be written. Returns true if there are some.
    fn give_up_variants(&mut self) -> bool {
        let before = self.progress;
        for branch in self.nodes.iter_mut().flat_map(|node| &mut node.branches) {
            if !branch.is_known && branch.tag.is_some() && branch.content.is_none() {
                (branch.is_known, branch.is_unreadable) = (true, true);
                self.progress += 1;
            }
        }
        self.attempt = 0;
        self.progress > before
    }

    fn pass(&mut self, pass: Pass<'_>) -> Result<(), String> {
        (self.given, self.looked_at) = (0, None);
        self.stack.clear();
        self.rank();
        match catch_unwind(AssertUnwindSafe(|| pass(Place(self)))) {
            Ok(Ok(())) => {}
            Ok(Err(stopped)) => self.last_error = stopped.message,
            Err(_) => self.last_error = "its Deserialize panicked".to_owned(),
        }
        self.refusal.clone().map_or(Ok(()), Err)
    }

    fn refuse(&mut self, reason: &str) -> Stopped {
        self.refusal.get_or_insert_with(|| reason.to_owned());
        Stopped::new(reason)
    }

    /// The node of a visitor, which becomes the next part of the open node.
    fn enter(&mut self, visitor: TypeId, form: Form) -> Result<usize, Stopped> {
        if self.stack.len() > DEPTH_MAX {
            return Err(self.refuse("is nested too deep"));
        }
        let id = match self.ids.get(&(visitor, form)) {
            Some(id) => *id,
            None if self.nodes.len() == NODES_MAX => return Err(self.refuse("consists of too many types")),
            None => {
                self.progress += 1;
                self.ids.insert((visitor, form), self.nodes.len());
                self.nodes.push(Node::new(form));
                self.nodes.len() - 1
            }
        };
        self.add_part(id)?;
        Ok(id)
    }

    fn add_part(&mut self, id: usize) -> Result<(), Stopped> {
        const DEPENDS: &str = "reads one thing or another, depending on values that it has read";
        let Some(frame) = self.stack.last_mut() else {
            return match *self.root.get_or_insert(id) {
                root if root == id => Ok(()),
                _ => Err(self.refuse(DEPENDS)),
            };
        };
        let Some(branch) = self.nodes.get_mut(frame.id).and_then(|node| node.branches.get_mut(frame.branch))
        else {
            return Err(Stopped::new("no such branch"));
        };
        let at = frame.part;
        frame.part += 1;
        match branch.parts.get(at) {
            Some(known) if *known == id => Ok(()),
            None if !branch.is_known => {
                branch.parts.push(id);
                branch.is_known = branch.expected == Some(branch.parts.len());
                self.progress += 1;
                Ok(())
            }
            _ => Err(self.refuse(DEPENDS)),
        }
    }

    /// Starts to read a branch of a composite node.
    fn open(&mut self, id: usize) -> Result<usize, Stopped> {
        let branch = self.choose(id)?;
        self.stack.push(Frame { id, branch, part: 0 });
        Ok(branch)
    }

    /// Closes it. A visitor that succeeded has asked for all parts.
    fn close(&mut self, content: bool) -> Result<(), Stopped> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let Some(branch) = self.branch(frame.id, frame.branch) else { return Ok(()) };
        if !content {
            return Ok(());
        }
        if branch.expected.is_some_and(|expected| expected != frame.part) || branch.parts.len() != frame.part
        {
            return Err(self.refuse("reads other parts than it names"));
        }
        if !branch.is_known {
            branch.is_known = true;
            self.progress += 1;
        }
        Ok(())
    }

    fn branch(&mut self, id: usize, branch: usize) -> Option<&mut Branch> {
        self.nodes.get_mut(id)?.branches.get_mut(branch)
    }

    /// The branch of a node to read in this pass.
    fn choose(&mut self, id: usize) -> Result<usize, Stopped> {
        let around: BTreeSet<usize> = self.stack.iter().map(|frame| frame.id).collect();
        let Some(node) = self.nodes.get(id) else { return Err(Stopped::new("no such node")) };
        if self.exploring && !around.contains(&id) {
            for branch in 0..node.branches.len() {
                let mut seen = around.clone();
                seen.insert(id);
                if self.branch_has_work(id, branch, &mut seen) {
                    if !node.is_known(branch) {
                        self.looked_at = Some((id, branch));
                    }
                    return Ok(branch);
                }
            }
        }
        let finite = || node.branches.iter().enumerate().filter(|(_, branch)| branch.rank < usize::MAX);
        let least = finite().min_by_key(|(_, branch)| branch.rank);
        let any = match self.attempt {
            0 => least,
            _ if self.stack.len() > 8 => least,
            _ => finite().min_by_key(|(_, branch)| branch.taken),
        };
        let Some(branch) = any.map(|(branch, _)| branch) else {
            return Err(Stopped::new("there is no value of it that ends"));
        };
        self.nodes[id].branches[branch].taken += 1;
        Ok(branch)
    }

    /// True if a node has branches to visit, apart from nodes in `seen`.
    fn has_work(&self, id: usize, seen: &mut BTreeSet<usize>) -> bool {
        if !seen.insert(id) {
            return false;
        }
        let node = &self.nodes[id];
        node.names_are_open() && !self.blocked.contains(&(id, usize::MAX))
            || (0..node.branches.len()).any(|branch| self.branch_has_work(id, branch, seen))
    }

    fn branch_has_work(&self, id: usize, branch: usize, seen: &mut BTreeSet<usize>) -> bool {
        let node = &self.nodes[id];
        let parts = &node.branches[branch].parts;
        !node.is_known(branch) && !self.blocked.contains(&(id, branch))
            || parts.iter().any(|part| self.has_work(*part, seen))
    }

    fn is_known(&self, root: usize) -> bool {
        let (mut seen, mut left) = (BTreeSet::from([root]), vec![root]);
        while let Some(id) = left.pop() {
            let node = &self.nodes[id];
            if node.names_are_open() || (0..node.branches.len()).any(|branch| !node.is_known(branch)) {
                return false;
            }
            left.extend(
                node.branches.iter().flat_map(|branch| &branch.parts).filter(|part| seen.insert(**part)),
            );
        }
        true
    }

    /// Finds the depth of the smallest value of each branch.
    fn rank(&mut self) {
        loop {
            let ranks: Vec<usize> = self.nodes.iter().map(Node::rank).collect();
            let mut changed = false;
            for branch in self.nodes.iter_mut().flat_map(|node| &mut node.branches) {
                let deepest = branch.parts.iter().map(|part| ranks[*part]).max().unwrap_or(0);
                let known =
                    branch.is_known && !branch.is_absent && !branch.is_unreadable && deepest < usize::MAX;
                let rank = if known { deepest + 1 } else { usize::MAX };
                changed |= rank != branch.rank;
                branch.rank = rank;
            }
            if !changed {
                return;
            }
        }
    }
}
