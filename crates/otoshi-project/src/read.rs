//! Reading `otoshi.toml`, and telling all that is wrong with it.

use crate::{Manifest, ProjectError, faults::Faults, shape};

impl Manifest {
    /// Reads `otoshi.toml`; `file` is shown in errors.
    ///
    /// Fails with all mistakes of form and content at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, ProjectError> {
        let mut faults = Faults::new(file, text);
        let read = toml::from_str(text);
        match &read {
            Ok(manifest) => Self::look(manifest, &mut faults),
            Err(_) => Self::look_at_form(&mut faults),
        }
        faults.end()?;
        read.map_err(|error| ProjectError::of_toml(file, text, &error))
    }

    /// Finds why the file could not be read, and what else is wrong as far as can be told.
    fn look_at_form(faults: &mut Faults<'_>) {
        if let Some(Ok(manifest)) = shape::look(faults).map(toml_edit::de::from_document::<Self>) {
            manifest.look(faults);
        }
    }
}
