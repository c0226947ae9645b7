//! The event time of an operator with several inputs.

/// The least watermark over the inputs of an operator.
///
/// A watermark `t` says that no more records with a time of `t` or before are expected. An operator may rely on
/// the least watermark of its inputs. It never goes back. Times are in milliseconds.
///
/// An input without records can be declared [idle](Self::set_idle). It does not hold back the others then. When it
/// continues, it counts again once its watermark has caught up. If all inputs are idle, the greatest of their
/// watermarks holds. These are the rules of Flink's `StatusWatermarkValve`.
///
/// Watermarks are not state: after a restore they start from nothing, and the sources send them again.
///
/// ```
/// use coordinator::Watermarks;
///
/// let mut inputs = Watermarks::new(2);
/// assert_eq!(inputs.advance(0, 500), None);
/// assert_eq!(inputs.advance(1, 300), Some(300));
/// assert_eq!(inputs.set_idle(1), Some(500));
/// assert_eq!(inputs.advance(1, 400), None);
/// assert_eq!(inputs.current(), Some(500));
/// ```
#[derive(Clone, Debug)]
pub struct Watermarks {
    inputs: Vec<Input>,
    current: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Input {
    watermark: Option<i64>,
    is_idle: bool,
}

impl Watermarks {
    /// Watermarks of this many inputs. None of them has arrived.
    pub fn new(inputs: usize) -> Self {
        Self { inputs: vec![Input { watermark: None, is_idle: false }; inputs], current: None }
    }

    /// The least watermark, or `None` before one has arrived on each input.
    pub fn current(&self) -> Option<i64> {
        self.current
    }

    /// True if all inputs are idle. The operator's own output is idle then.
    pub fn is_idle(&self) -> bool {
        self.inputs.iter().all(|input| input.is_idle)
    }

    /// Handles a watermark of an input. The input is no longer idle. Returns the least watermark if it has
    /// advanced. A watermark that goes back, and an unknown input, are ignored.
    pub fn advance(&mut self, input: usize, watermark: i64) -> Option<i64> {
        let input = self.inputs.get_mut(input)?;
        input.is_idle = false;
        input.watermark = input.watermark.max(Some(watermark));
        self.update()
    }

    /// Declares an input idle, until its next watermark. Returns the least watermark if it has advanced.
    pub fn set_idle(&mut self, input: usize) -> Option<i64> {
        self.inputs.get_mut(input)?.is_idle = true;
        self.update()
    }

    /// Handles the end of an input. An operator without running inputs has the watermark `i64::MAX`, which
    /// fires all timers of event time. Returns the least watermark if it has advanced.
    pub fn end(&mut self, input: usize) -> Option<i64> {
        self.advance(input, i64::MAX)
    }

    fn update(&mut self) -> Option<i64> {
        let next = if self.is_idle() {
            self.inputs.iter().filter_map(|input| input.watermark).max()
        } else {
            // An input that was idle is left out until it has caught up, because the least watermark cannot go back.
            let counts = |input: &&Input| !input.is_idle && input.watermark >= self.current;
            self.inputs.iter().filter(counts).map(|input| input.watermark).min().flatten()
        };
        let advanced = next.filter(|next| Some(*next) > self.current)?;
        self.current = Some(advanced);
        Some(advanced)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_slowest_input_decides_once_all_have_a_watermark() {
        let mut inputs = Watermarks::new(3);
        assert_eq!((inputs.advance(0, 10), inputs.advance(1, 30)), (None, None));
        assert_eq!(inputs.current(), None);
        assert_eq!(inputs.advance(2, 20), Some(10));
        assert_eq!(inputs.advance(0, 25), Some(20));
        assert_eq!(inputs.advance(2, 5), None);
        assert_eq!((inputs.advance(7, 99), inputs.set_idle(7), inputs.end(7)), (None, None, None));
        assert_eq!(inputs.current(), Some(20));
    }

    #[test]
    fn an_idle_input_holds_back_nothing_and_must_catch_up() {
        let mut inputs = Watermarks::new(2);
        inputs.advance(0, 10);
        assert_eq!(inputs.set_idle(1), Some(10));
        assert_eq!(inputs.advance(0, 20), Some(20));
        // Active again, but behind: it does not count.
        assert_eq!(inputs.advance(1, 15), None);
        assert_eq!(inputs.advance(0, 40), Some(40));
        assert_eq!(inputs.advance(1, 45), None);
        // It has caught up, and counts.
        assert_eq!(inputs.advance(0, 60), Some(45));
    }

    #[test]
    fn if_all_inputs_are_idle_the_greatest_watermark_holds() {
        let mut inputs = Watermarks::new(2);
        inputs.advance(0, 10);
        inputs.advance(1, 30);
        assert_eq!((inputs.set_idle(0), inputs.is_idle()), (Some(30), false));
        assert_eq!((inputs.set_idle(1), inputs.is_idle()), (None, true));
        let mut inputs = Watermarks::new(2);
        inputs.advance(0, 10);
        inputs.advance(1, 30);
        assert_eq!((inputs.set_idle(1), inputs.set_idle(0)), (None, Some(30)));
    }

    #[test]
    fn the_end_of_all_inputs_is_the_end_of_time() {
        let mut inputs = Watermarks::new(2);
        assert_eq!((inputs.end(0), inputs.advance(1, 7)), (None, Some(7)));
        assert_eq!(inputs.end(1), Some(i64::MAX));
        assert_eq!(inputs.end(1), None);
        assert_eq!(Watermarks::new(0).current(), None);
    }

    proptest! {
        #[test]
        fn it_never_goes_back_and_is_never_ahead_of_an_input_that_was_always_active(
            steps in prop::collection::vec((0..4_usize, prop::option::of(0..100_i64)), 0..100)
        ) {
            let mut inputs = Watermarks::new(4);
            let (mut watermarks, mut always) = ([None; 4], [true; 4]);
            for (input, step) in steps {
                let before = inputs.current();
                let advanced = match step {
                    Some(watermark) => {
                        watermarks[input] = watermarks[input].max(Some(watermark));
                        inputs.advance(input, watermark)
                    }
                    None => {
                        always[input] = false;
                        inputs.set_idle(input)
                    }
                };
                prop_assert!(inputs.current() >= before);
                prop_assert_eq!(advanced, inputs.current().filter(|now| Some(*now) > before));
                let least = (0..4).filter(|input| always[*input]).map(|input| watermarks[input]).min();
                prop_assert!(least.is_none_or(|least| inputs.current() <= least));
                if always == [true; 4] {
                    prop_assert_eq!(Some(inputs.current()), least);
                }
            }
        }
    }
}
