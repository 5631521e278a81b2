use std::process::ExitCode;

use clap::Args;
use otoshi_store::Home;

use crate::{failure::Failure, named::find};

/// Show an image's config, layers and annotations as JSON.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The image's name or digest
    image: String,
}

impl Inspect {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let image = find(home, &self.image)?;
        let layers: Vec<_> = image
            .layers()
            .iter()
            .map(|layer| serde_json::json!({"digest": layer.digest, "diff_id": layer.diff_id, "size": layer.descriptor.size()}))
            .collect();
        let shown = serde_json::json!({
            "digest": image.digest,
            "annotations": image.annotations(),
            "layers": layers,
            "config": image.config,
        });
        outln!("{}", serde_json::to_string_pretty(&shown).unwrap_or_default());
        Ok(ExitCode::SUCCESS)
    }
}
