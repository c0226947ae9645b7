//! The table of figures, as Markdown and as CSV.

use std::fmt;

/// The target of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// For information.
    None,
}

/// One measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of the figure.
    pub name: String,
    /// The value; a ratio if there is a peer.
    pub value: f64,
    /// Unit of the value; `x` is a ratio.
    pub unit: &'static str,
    /// The target.
    pub target: Target,
    /// The times and sizes that it comes from.
    pub detail: String,
}

impl Figure {
    /// A figure without a target.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), value, unit, target: Target::None, detail: detail.into() }
    }

    /// Sets the target.
    pub fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// True if the target is met; `None` without a target.
    pub fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(most) => Some(self.value <= most),
            Target::AtLeast(least) => Some(self.value >= least),
            Target::None => None,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::None => Ok(()),
        }
    }
}

/// Head of the Markdown table.
pub const MARKDOWN_HEAD: &str = "| figure | value | target | | detail |\n| --- | ---: | ---: | --- | --- |";

/// Head of the CSV table.
pub const CSV_HEAD: &str = "figure,value,unit,target,verdict,detail";

/// A row of the Markdown table.
pub fn markdown_row(figure: &Figure) -> String {
    let Figure { name, value, unit, target, detail } = figure;
    format!("| {name} | {value:.3} {unit} | {target} | {} | {detail} |", figure.verdict())
}

/// A row of the CSV table.
pub fn csv_row(figure: &Figure) -> String {
    let Figure { name, value, unit, target, detail } = figure;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    format!("{},{value},{unit},{target},{},{}", quoted(name), figure.verdict(), quoted(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_meets_its_target_or_not() {
        let figure = Figure::new("a, b", 1.5, "x", "says \"so\"").target(Target::AtMost(1.5));
        assert_eq!(markdown_row(&figure), "| a, b | 1.500 x | <= 1.5 | met | says \"so\" |");
        assert_eq!(csv_row(&figure), "\"a, b\",1.5,x,<= 1.5,met,\"says \"\"so\"\"\"");
        assert_eq!(figure.clone().target(Target::AtLeast(2.0)).is_met(), Some(false));
        assert_eq!(figure.target(Target::None).is_met(), None);
    }
}
