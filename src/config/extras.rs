//! Programs that the image `full` can have besides Claude Code.

/// A program that is added to the image on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// A headless browser.
    Chromium,
    /// `OpenAI`'s agent.
    Codex,
    /// Google's agent.
    Gemini,
}

/// The allowed lists, for error messages.
pub const ALLOWED: &str = "a list out of chromium, codex and gemini, for example chromium,codex";

impl Extra {
    /// All programs, in the order of lists.
    pub const ALL: [Self; 3] = [Self::Chromium, Self::Codex, Self::Gemini];

    /// Its name in settings; for an agent, also the name of its provider.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
        }
    }

    /// Finds a program by its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extra| extra.as_str() == name)
    }
}

/// Parses a list such as `chromium, codex`, and sorts it without duplicates. Returns None for an unknown name.
pub fn list(text: &str) -> Option<Vec<Extra>> {
    let names = text.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
    let mut extras = names.map(|name| Extra::parse(&name)).collect::<Option<Vec<_>>>()?;
    extras.sort_unstable();
    extras.dedup();
    Some(extras)
}

/// Returns the requested programs and the one that the installation's provider needs.
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
    fn extras_lists_have_only_known_names() {
        assert_eq!(list(" Gemini,chromium,,gemini "), Some(vec![Extra::Chromium, Extra::Gemini]));
        assert_eq!(list(""), Some(Vec::new()));
        assert_eq!(list("chromium,firefox"), None);
        assert_eq!(list("chromium codex"), None);
    }

    #[test]
    fn provider_adds_its_own_program() {
        assert_eq!(with_provider(vec![Extra::Gemini], "codex"), [Extra::Codex, Extra::Gemini]);
        assert_eq!(with_provider(vec![Extra::Codex], "codex"), [Extra::Codex]);
        assert_eq!(with_provider(Vec::new(), "claude"), []);
    }
}
