//! The additions of the image `full` to Claude Code.

/// A program that the image is made with when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// A browser without a window.
    Chromium,
    /// The agent of `OpenAI`.
    Codex,
    /// Google's agent.
    Gemini,
}

/// What may be asked for.
pub const ALLOWED: &str = "a list out of chromium, codex and gemini, for example chromium,codex";

impl Extra {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Chromium, Self::Codex, Self::Gemini];

    /// Its name in settings; an agent's is that of its provider, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extra| extra.as_str() == name)
    }
}

/// A list such as `chromium, codex`: each once, in an order of its own. None when a name is not known.
pub fn list(text: &str) -> Option<Vec<Extra>> {
    let names = text.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
    let mut extras = names.map(|name| Extra::parse(&name)).collect::<Option<Vec<_>>>()?;
    extras.sort_unstable();
    extras.dedup();
    Some(extras)
}

/// Returns what was asked for, and what the installation's provider cannot do without.
pub fn with_provider(mut extras: Vec<Extra>, provider: &str) -> Vec<Extra> {
    extras.extend(Extra::parse(provider));
    extras.sort_unstable();
    extras.dedup();
    extras
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_of_known_names_alone() {
        assert_eq!(list(" Gemini,chromium,,gemini "), Some(vec![Extra::Chromium, Extra::Gemini]));
        assert_eq!(list(""), Some(Vec::new()));
        assert_eq!(list("chromium,firefox"), None);
        assert_eq!(list("chromium codex"), None);
    }

    #[test]
    fn a_provider_brings_its_own_program() {
        assert_eq!(with_provider(vec![Extra::Gemini], "codex"), [Extra::Codex, Extra::Gemini]);
        assert_eq!(with_provider(vec![Extra::Codex], "codex"), [Extra::Codex]);
        assert_eq!(with_provider(Vec::new(), "claude"), []);
    }
}
