//! Charts.

use plotters::prelude::*;

use super::Size;
use crate::failure::{Failure, Result};

/// Consecutive key groups.
#[derive(Debug, PartialEq, Eq)]
pub struct Bar {
    first: usize,
    last: usize,
    pub rows: u64,
    pub bytes: u64,
}

impl Bar {
    /// The key groups, such as `0-7`.
    pub fn label(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }
}

/// At most `most` bars of equally many key groups, the last one perhaps of fewer.
pub fn bars(groups: &[Size], most: usize) -> Vec<Bar> {
    let width = groups.len().div_ceil(most).max(1);
    let bars = groups.chunks(width).enumerate().map(|(number, part)| Bar {
        first: number * width,
        last: number * width + part.len() - 1,
        rows: part.iter().map(|size| size.rows).sum(),
        bytes: part.iter().map(|size| size.bytes).sum(),
    });
    bars.collect()
}

/// A bar chart as SVG. `values` are drawn from left to right.
pub fn chart(title: &str, across: &str, values: &[u64]) -> Result<String> {
    let mut svg = String::new();
    draw(title, across, values, &mut svg)
        .map_err(|error| Failure::Usage(format!("a plot cannot be drawn: {error}")))?;
    Ok(svg)
}

fn draw(
    title: &str,
    across: &str,
    values: &[u64],
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (720, 260)).into_drawing_area();
    area.fill(&WHITE)?;
    let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
    let top = values.iter().copied().max().unwrap_or(0).max(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(72)
        .build_cartesian_2d(0..count.max(1), 0.0..top * 1.05)?;
    let label = |bytes: &f64| indicatif::HumanBytes(*bytes as u64).to_string();
    chart.configure_mesh().disable_x_mesh().x_desc(across).y_label_formatter(&label).draw()?;
    chart.draw_series((0..count).zip(values).map(|(at, value)| {
        let mut bar = Rectangle::new([(at, 0.0), (at + 1, *value as f64)], RGBColor(46, 94, 170).filled());
        bar.set_margin(0, 0, 1, 0);
        bar
    }))?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_cover_all_key_groups_once() {
        for groups in [1, 2, 15, 16, 17, 100, 128, 32_768] {
            let sizes = vec![Size { rows: 1, bytes: 2 }; groups];
            let bars = bars(&sizes, 16);
            assert!(bars.len() <= 16);
            let mut next = 0;
            for bar in &bars {
                assert_eq!(bar.first, next);
                assert_eq!(bar.rows, (bar.last - bar.first + 1) as u64);
                next = bar.last + 1;
            }
            assert_eq!(next, groups);
        }
    }
}
