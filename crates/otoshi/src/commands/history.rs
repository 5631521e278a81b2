use std::process::ExitCode;

use clap::Args;
use otoshi_store::Home;
use serde::Serialize;

use crate::{failure::Failure, named::find};

/// The longest instruction that is shown.
const LONGEST: usize = 80;

/// Show how an image was made, newest first: the instructions and the size of their layers.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The image's name or digest
    image: String,
    /// Print JSON: a list of objects with `created`, `created_by`, `comment`, `size` (bytes of the compressed layer) and `layer`
    #[arg(long)]
    json: bool,
    /// Show instructions in full
    #[arg(long)]
    no_trunc: bool,
}

#[derive(Serialize)]
struct Row {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    size: u64,
    layer: Option<String>,
}

impl History {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let image = find(home, &self.image)?;
        let mut layers = image.layers().iter();
        let mut rows: Vec<Row> = Vec::new();
        for entry in &image.config.history {
            let layer = if entry.empty_layer { None } else { layers.next() };
            rows.push(Row {
                created: entry.created.clone(),
                created_by: entry.created_by.clone(),
                comment: entry.comment.clone(),
                size: layer.map_or(0, |layer| layer.descriptor.size()),
                layer: layer.map(|layer| layer.digest.to_string()),
            });
        }
        // Layers that no entry tells of.
        rows.extend(layers.map(|layer| Row {
            created: None,
            created_by: None,
            comment: None,
            size: layer.descriptor.size(),
            layer: Some(layer.digest.to_string()),
        }));
        rows.reverse();
        if self.json {
            outln!("{}", serde_json::to_string_pretty(&rows).unwrap_or_default());
            return Ok(ExitCode::SUCCESS);
        }
        for row in rows {
            let text = row.created_by.unwrap_or_else(|| "(unknown)".to_owned());
            let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let shown = if self.no_trunc || line.chars().count() <= LONGEST {
                line
            } else {
                line.chars().take(LONGEST - 1).chain(['…']).collect()
            };
            let created =
                row.created.as_deref().and_then(|time| time.get(..19)).unwrap_or("                   ");
            outln!("{created}  {:>9.1} MB  {shown}", row.size as f64 / 1e6);
        }
        Ok(ExitCode::SUCCESS)
    }
}
