//! For authors of backends: the earliest timer over all key groups.

/// The earliest time of each key group, and the group with the least of them.
///
/// A tree of comparisons: a change compares once per level, and the least is at the root.
#[derive(Clone, Debug)]
pub struct TimerHeads {
    /// By group, counted from the first one of the backend.
    heads: Vec<Option<i64>>,
    /// `winners[node]` is the group with the least head below `node`. The root is node 1, the children of a node are
    /// `2 * node` and `2 * node + 1`, and the leaves follow the last node.
    winners: Vec<u16>,
}

impl TimerHeads {
    /// For a number of key groups, all of them empty.
    pub fn new(groups: usize) -> Self {
        let width = groups.next_power_of_two();
        let mut new = Self { heads: vec![None; groups], winners: vec![0; width] };
        for node in (1..width).rev() {
            // Without timers the first group wins.
            let winner = new.winner(2 * node) as u16;
            if let Some(known) = new.winners.get_mut(node) {
                *known = winner;
            }
        }
        new
    }

    /// The earliest time of all groups, and the index of its group. Of equal times that of the first group wins.
    #[inline]
    pub fn first(&self) -> Option<(usize, i64)> {
        // With one group there is no comparison.
        let group = self.winners.get(1).map_or(0, |group| usize::from(*group));
        self.heads.get(group).copied().flatten().map(|at| (group, at))
    }

    /// Sets the earliest time of a group, or `None` if it has no timer.
    #[inline]
    pub fn set(&mut self, group: usize, at: Option<i64>) {
        let Some(head) = self.heads.get_mut(group) else { return };
        if *head == at {
            return;
        }
        *head = at;
        let mut node = (self.winners.len() + group) / 2;
        while node > 0 {
            let [left, right] = [2 * node, 2 * node + 1].map(|child| self.winner(child));
            let winner = if self.is_before(right, left) { right } else { left };
            let Some(known) = self.winners.get_mut(node) else { return };
            if usize::from(*known) == winner && winner != group {
                return;
            }
            // There are at most 32,768 groups.
            *known = winner as u16;
            node /= 2;
        }
    }

    fn winner(&self, node: usize) -> usize {
        match node.checked_sub(self.winners.len()) {
            Some(group) => group,
            None => self.winners.get(node).map_or(0, |group| usize::from(*group)),
        }
    }

    fn is_before(&self, group: usize, other: usize) -> bool {
        let head = |group: usize| self.heads.get(group).copied().flatten();
        match (head(group), head(other)) {
            (Some(at), Some(other)) => at < other,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_head_is_the_least_of_all(
            groups in 1..40_usize,
            steps in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(-3..3_i64)), 1..200),
        ) {
            let (mut heads, mut model) = (TimerHeads::new(groups), vec![None; groups]);
            for (group, at) in steps {
                let group = group.index(groups);
                heads.set(group, at);
                model[group] = at;
                let least = (0..).zip(&model).filter_map(|(group, at)| at.map(|at| (at, group))).min();
                prop_assert_eq!(heads.first(), least.map(|(at, group)| (group, at)));
            }
        }
    }
}
