//! The checks by name.

/// A check, under the name that BuildKit gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "`about` says what each is")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
    InvalidBaseImagePlatform,
}

impl Rule {
    /// Every check.
    pub const ALL: [Self; 22] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JSONArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
        Self::InvalidBaseImagePlatform,
    ];

    /// Its name, as in `# check=skip=NAME`.
    pub fn name(self) -> &'static str {
        match self {
            Self::StageNameCasing => "StageNameCasing",
            Self::FromAsCasing => "FromAsCasing",
            Self::NoEmptyContinuation => "NoEmptyContinuation",
            Self::ConsistentInstructionCasing => "ConsistentInstructionCasing",
            Self::DuplicateStageName => "DuplicateStageName",
            Self::ReservedStageName => "ReservedStageName",
            Self::JSONArgsRecommended => "JSONArgsRecommended",
            Self::MaintainerDeprecated => "MaintainerDeprecated",
            Self::UndefinedArgInFrom => "UndefinedArgInFrom",
            Self::WorkdirRelativePath => "WorkdirRelativePath",
            Self::UndefinedVar => "UndefinedVar",
            Self::MultipleInstructionsDisallowed => "MultipleInstructionsDisallowed",
            Self::LegacyKeyValueFormat => "LegacyKeyValueFormat",
            Self::RedundantTargetPlatform => "RedundantTargetPlatform",
            Self::SecretsUsedInArgOrEnv => "SecretsUsedInArgOrEnv",
            Self::InvalidDefaultArgInFrom => "InvalidDefaultArgInFrom",
            Self::FromPlatformFlagConstDisallowed => "FromPlatformFlagConstDisallowed",
            Self::CopyIgnoredFile => "CopyIgnoredFile",
            Self::InvalidDefinitionDescription => "InvalidDefinitionDescription",
            Self::ExposeProtoCasing => "ExposeProtoCasing",
            Self::ExposeInvalidFormat => "ExposeInvalidFormat",
            Self::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
        }
    }

    /// What it is about, in one sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::StageNameCasing => "The names of stages are written in lower case.",
            Self::FromAsCasing => "AS is written in the same case as its FROM.",
            Self::NoEmptyContinuation => "There are no empty lines inside an instruction.",
            Self::ConsistentInstructionCasing => "All instructions are written in the same case.",
            Self::DuplicateStageName => "No two stages have the same name.",
            Self::ReservedStageName => "No stage is called scratch or context.",
            Self::JSONArgsRecommended => {
                "CMD and ENTRYPOINT are lists, so that the program gets the signals."
            }
            Self::MaintainerDeprecated => "The author is named in a label: MAINTAINER is deprecated.",
            Self::UndefinedArgInFrom => "FROM uses arguments that are declared before it.",
            Self::WorkdirRelativePath => "The first WORKDIR is absolute, whatever the base has.",
            Self::UndefinedVar => "Variables are set before they are used.",
            Self::MultipleInstructionsDisallowed => {
                "CMD, ENTRYPOINT and HEALTHCHECK appear once in a stage: only the last takes effect."
            }
            Self::LegacyKeyValueFormat => "ENV and LABEL are written with an equals sign.",
            Self::RedundantTargetPlatform => "$TARGETPLATFORM is what FROM uses by default.",
            Self::SecretsUsedInArgOrEnv => {
                "Secrets are not passed as arguments or variables: those are kept in the image."
            }
            Self::InvalidDefaultArgInFrom => "FROM names an image even without build arguments.",
            Self::FromPlatformFlagConstDisallowed => "A stage is not bound to one platform.",
            Self::CopyIgnoredFile => "What is copied is not excluded by the ignore file.",
            Self::InvalidDefinitionDescription => {
                "A comment above a stage or argument starts with its name and describes it."
            }
            Self::ExposeProtoCasing => "The protocol in EXPOSE is written in lower case.",
            Self::ExposeInvalidFormat => {
                "EXPOSE names ports of the container, not addresses or ports of the host."
            }
            Self::InvalidBaseImagePlatform => "A base is for the platform that its stage is for.",
        }
    }

    /// Where BuildKit's documentation explains it.
    pub fn url(self) -> String {
        let name = match self {
            // Not every capital starts a word.
            Self::JSONArgsRecommended => "JsonArgsRecommended",
            other => other.name(),
        };
        let mut kebab = String::new();
        for character in name.chars() {
            if character.is_ascii_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.push(character.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/reference/build-checks/{kebab}/")
    }

    /// Whether it runs only where it is asked for.
    pub(crate) fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// The check with this name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name().eq_ignore_ascii_case(name))
    }
}
