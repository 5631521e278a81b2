//! `# check=skip=RULE,RULE;error=true;experimental=all`.

use super::Rule;

/// Which checks run, and whether what they find is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    skip: Which,
    experimental: Which,
    pub(super) error: bool,
}

/// Some checks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    All,
    These(Vec<Rule>),
}

impl Default for Which {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Which {
    /// Names of checks; those that nobody knows may be of a newer version.
    fn parse(text: &str) -> Self {
        if text == "all" {
            return Self::All;
        }
        Self::These(text.split(',').filter_map(|name| Rule::named(name.trim())).collect())
    }

    fn has(&self, rule: Rule) -> bool {
        match self {
            Self::All => true,
            Self::These(rules) => rules.contains(&rule),
        }
    }
}

impl Settings {
    /// Reads the directive's value; says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form name=value"))?;
            let value = value.trim();
            match name.trim() {
                "skip" => settings.skip = Which::parse(value),
                "experimental" => settings.experimental = Which::parse(value),
                "error" => {
                    settings.error = match value.to_lowercase().as_str() {
                        "true" | "t" | "1" => true,
                        "false" | "f" | "0" => false,
                        _ => return Err(format!("error must be true or false, not {value:?}")),
                    };
                }
                other => return Err(format!("there is no option {other:?}")),
            }
        }
        Ok(settings)
    }

    /// Whether a check runs.
    pub(super) fn wants(&self, rule: Rule) -> bool {
        if rule.is_experimental() { self.experimental.has(rule) } else { !self.skip.has(rule) }
    }

    /// Whether a check is skipped by name or with all others.
    pub(super) fn skips(&self, rule: Rule) -> bool {
        self.skip.has(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directive() {
        let settings = Settings::parse("skip=JSONArgsRecommended, StageNameCasing,New;error=true").unwrap();
        assert!(
            settings.error
                && settings.skips(Rule::StageNameCasing)
                && !settings.wants(Rule::JSONArgsRecommended)
        );
        assert!(settings.wants(Rule::UndefinedVar) && !settings.wants(Rule::InvalidDefinitionDescription));
        let settings = Settings::parse("skip=all;experimental=InvalidDefinitionDescription").unwrap();
        assert!(!settings.wants(Rule::UndefinedVar) && settings.wants(Rule::InvalidDefinitionDescription));
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        for wrong in ["skip", "error=maybe", "skpi=all"] {
            assert!(Settings::parse(wrong).is_err(), "{wrong}");
        }
    }
}
