//! The text that a program wrote beside its protocol: it may explain a failure.

/// The most that is kept, in characters.
const KEPT: usize = 1000;

/// The last words of a program.
#[derive(Debug, Default)]
pub struct Words(String);

impl Words {
    /// Adds a text, and keeps the end of all of them.
    pub fn note(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        self.0.push_str(text.trim());
        self.0.push('\n');
        if let Some((at, _)) = self.0.char_indices().rev().nth(KEPT) {
            self.0.drain(..at);
        }
    }

    /// Forgets everything: a turn went well, or another process begins.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns why a program was ended that did not open its conversation in time.
    pub fn stuck(&self, program: &str) -> String {
        let words = self.or("it said nothing");
        format!("{program} did not open a conversation in time and was ended: {words}")
    }

    /// Returns why a turn has no answer whose program ended in the middle of it; `said` is the end of its stderr.
    pub fn ended(&mut self, program: &str, how: &str, said: &str) -> String {
        self.note(said);
        format!("{program} ended with {how}: {}", self.or("it gave no reason"))
    }

    fn or<'a>(&'a self, silence: &'a str) -> &'a str {
        let words = self.0.trim();
        if words.is_empty() { silence } else { words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_said_explains_a_failure() {
        let mut words = Words::default();
        words.note(" \n");
        assert!(words.stuck("X").ends_with("was ended: it said nothing"));
        words.note("Loaded.\n");
        assert_eq!(
            words.ended("X", "exit code 1", "out of memory\n"),
            "X ended with exit code 1: Loaded.\nout of memory"
        );
        words.note(&"ä".repeat(5000));
        let told = words.ended("X", "exit code 1", "the end");
        assert!(told.ends_with("ä\nthe end") && told.chars().count() < KEPT + 50, "{told}");
        words.clear();
        assert!(words.ended("X", "signal 9", "").ends_with("it gave no reason"));
    }
}
