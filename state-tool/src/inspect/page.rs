//! What `inspect` shows, as a page that needs nothing else.

use html_escape::encode_text;

use super::plot::{bars, chart};
use super::{Report, Shown, StateReport, text};
use crate::failure::Result;

/// Most bars of a plot.
const BARS: usize = 256;

const STYLE: &str = "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
pre{background:#f5f5f5;padding:1em;overflow-x:auto}svg{max-width:100%;height:auto}";

/// The page.
pub fn page(shown: &Shown) -> Result<String> {
    let title = match &shown.report {
        Some(report) => format!("Checkpoint {}", report.checkpoint),
        None => "Retained checkpoints".to_owned(),
    };
    let mut body = format!("<h1>{title}</h1>\n");
    if let Some(report) = &shown.report {
        push_plots(report, &mut body)?;
    }
    if let Some(history) = &shown.history {
        body.push_str("<h2>Retained checkpoints</h2>\n");
        let sizes: Vec<_> = history.iter().map(|past| past.bytes).collect();
        body.push_str(&chart("Bytes that a restore reads", "retained checkpoints, oldest first", &sizes)?);
        let deltas: Vec<_> = history.iter().map(|past| past.delta_bytes).collect();
        body.push_str(&chart("Bytes written", "retained checkpoints, oldest first", &deltas)?);
    }
    let mut report = Vec::new();
    text::write(shown, &mut report)?;
    let report = String::from_utf8_lossy(&report);
    body.push_str(&format!("<h2>Report</h2>\n<pre>{}</pre>\n", encode_text(&report)));
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body>\n{body}</body>\n</html>\n"
    ))
}

fn push_plots(report: &Report, body: &mut String) -> Result<()> {
    for operator in &report.operators {
        let states = operator.keyed.iter().flat_map(|keyed| &keyed.states);
        for state in states.filter(|state| state.rows > 0) {
            let StateReport { name, kind, value_type, .. } = state;
            let heading = format!("{} / {name}: {kind} state of {value_type}", operator.id);
            body.push_str(&format!("<h2>{}</h2>\n", encode_text(&heading)));
            let sizes: Vec<_> = bars(&state.key_groups, BARS).iter().map(|bar| bar.bytes).collect();
            body.push_str(&chart("Bytes by key group", "key groups", &sizes)?);
            let keys: Vec<_> = state.largest_keys.iter().map(|key| key.bytes).collect();
            if !keys.is_empty() {
                body.push_str(&chart("Bytes of the largest keys", "keys, largest first", &keys)?);
            }
        }
    }
    Ok(())
}
