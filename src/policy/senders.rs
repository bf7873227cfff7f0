//! `sender-allowlist.json`: who may trigger the agent in which chat.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

use super::RuleFile;
use super::rules_text::{complaint, flag, is_texts, object};
use crate::domain::ids::ChatJid;

/// A valid file with every possible field.
pub const EXAMPLE: &str = r#"{"default": {"allow": "*"}, "chats": {"web:family": {"allow": ["owner", "ann"], "mode": "drop"}}, "logDenied": true}"#;

/// The permission of a sender's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may trigger.
    Allow,
    /// It may not trigger.
    Deny {
        /// True if it is not even kept as context.
        drop: bool,
        /// True if the log gets a line.
        log: bool,
    },
}

/// The rules of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderRules {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// There is no file: everyone may trigger.
    Everyone,
    /// The file is not valid: only the owner's group may trigger.
    Broken(String),
    Listed(List),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    default: Entry,
    #[serde(default)]
    chats: BTreeMap<String, Entry>,
    #[serde(default = "yes")]
    log_denied: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    allow: Allow,
    #[serde(default)]
    mode: Mode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allow {
    All,
    These(BTreeSet<String>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Denied messages stay as marked context.
    #[default]
    Trigger,
    /// Denied messages are dropped.
    Drop,
}

fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Word(String),
            List(BTreeSet<String>),
        }
        match Raw::deserialize(d) {
            Ok(Raw::Word(word)) if word == "*" => Ok(Self::All),
            Ok(Raw::List(ids)) => Ok(Self::These(ids)),
            _ => Err(D::Error::custom("allow must be \"*\" or a list of sender ids")),
        }
    }
}

impl SenderRules {
    /// Reads the rules. Without a file, everyone may trigger. If the file is unreadable or not valid, only the
    /// owner's group may, and [`problem`](Self::problem) returns the reason.
    pub fn from_file(file: RuleFile) -> Self {
        let kind = match file {
            Ok(None) => Kind::Everyone,
            Ok(Some(text)) => match serde_json::from_str(&text) {
                Ok(list) => Kind::Listed(list),
                Err(error) => Kind::Broken(complaint(&text, &error, look, EXAMPLE)),
            },
            Err(why) => Kind::Broken(why),
        };
        if let Kind::Broken(why) = &kind {
            tracing::error!(
                "sender-allowlist.json cannot be used ({why}): only the owner's group may trigger until it is mended"
            );
        }
        Self { kind }
    }

    /// Returns why the file is not valid, if so.
    pub fn problem(&self) -> Option<&str> {
        match &self.kind {
            Kind::Broken(why) => Some(why),
            _ => None,
        }
    }

    /// Decides about a sender. The owner's group has only its own entry and not the default, so an operator cannot
    /// lock themselves out by listing others.
    pub fn decide(&self, chat: &ChatJid, sender: &str, is_main: bool) -> Decision {
        let list = match &self.kind {
            Kind::Everyone => return Decision::Allow,
            Kind::Broken(_) if is_main => return Decision::Allow,
            Kind::Broken(_) => return Decision::Deny { drop: false, log: true },
            Kind::Listed(list) => list,
        };
        let entry = match list.chats.get(chat.as_str()) {
            Some(entry) => entry,
            None if is_main => return Decision::Allow,
            None => &list.default,
        };
        match &entry.allow {
            Allow::All => Decision::Allow,
            Allow::These(ids) if ids.contains(sender) => Decision::Allow,
            Allow::These(_) => Decision::Deny { drop: entry.mode == Mode::Drop, log: list.log_denied },
        }
    }
}

/// Returns the first error in a file that is JSON.
fn look(value: &Value) -> Result<(), String> {
    let file = object(value, "the file", &["default", "chats", "logDenied"])?;
    let default = file.get("default").ok_or("\"default\" is missing: who may trigger in chats that are not named")?;
    look_at_entry(default, "\"default\"")?;
    match file.get("chats") {
        None => {}
        Some(Value::Object(chats)) => {
            for (jid, entry) in chats {
                look_at_entry(entry, &format!("the chat {jid:?}"))?;
            }
        }
        Some(_) => return Err("\"chats\" must be in braces, a chat's name before each entry".to_owned()),
    }
    flag(file, "logDenied")
}

fn look_at_entry(value: &Value, place: &str) -> Result<(), String> {
    let entry = object(value, place, &["allow", "mode"])?;
    match entry.get("allow") {
        Some(Value::String(word)) if word == "*" => {}
        Some(list) if is_texts(list) => {}
        _ => return Err(format!("{place} needs \"allow\": \"*\" for everyone, or a list of senders' ids")),
    }
    match entry.get("mode").map(Value::as_str) {
        None | Some(Some("trigger" | "drop")) => Ok(()),
        _ => Err(format!(
            "{place}: \"mode\" must be \"trigger\" (others' words stay as context) or \"drop\" (they are left out)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> SenderRules {
        SenderRules::from_file(Ok(Some(text.to_owned())))
    }

    fn chat(jid: &str) -> ChatJid {
        jid.parse().unwrap()
    }

    const KEPT: Decision = Decision::Deny { drop: false, log: true };

    #[test]
    fn missing_sender_file_allows_everyone() {
        let rules = SenderRules::from_file(Ok(None));
        assert_eq!(rules.decide(&chat("web:a"), "x", false), Decision::Allow);
        assert_eq!(rules.problem(), None);
    }

    #[test]
    fn lists_decide_per_chat() {
        let rules = rules(
            r#"{"default":{"allow":"*","mode":"trigger"},
                "chats":{"web:a":{"allow":["ann"],"mode":"trigger"},"web:b":{"allow":[],"mode":"drop"}},
                "logDenied":false}"#,
        );
        assert_eq!(rules.decide(&chat("web:a"), "ann", false), Decision::Allow);
        assert_eq!(rules.decide(&chat("web:a"), "Ann", false), Decision::Deny { drop: false, log: false });
        assert_eq!(rules.decide(&chat("web:b"), "ann", false), Decision::Deny { drop: true, log: false });
        assert_eq!(rules.decide(&chat("web:c"), "anyone", false), Decision::Allow);
    }

    #[test]
    fn default_entry_does_not_lock_the_owner_out() {
        let rules = rules(r#"{"default":{"allow":["ann"]},"chats":{"tty:b":{"allow":[]}}}"#);
        assert_eq!(rules.decide(&chat("tty:main"), "me", true), Decision::Allow);
        assert_eq!(rules.decide(&chat("tty:b"), "me", true), KEPT);
        assert_eq!(rules.decide(&chat("web:x"), "me", false), KEPT);
    }

    #[test]
    fn sender_example_is_valid() {
        let rules = rules(EXAMPLE);
        assert_eq!(rules.problem(), None);
        assert_eq!(rules.decide(&chat("web:family"), "owner", false), Decision::Allow);
        assert_eq!(rules.decide(&chat("web:family"), "bob", false), Decision::Deny { drop: true, log: true });
    }

    #[test]
    fn errors_of_the_sender_file_are_for_people_and_show_the_example() {
        for (text, words) in [
            (" ", "it is empty"),
            ("{\n\"default\": }", "it is not JSON: line 2, column"),
            (r#"["ann"]"#, r#"the file must be in braces, with "default", "chats", "logDenied""#),
            (r#"{"chats":{}}"#, r#""default" is missing"#),
            (r#"{"default":["ann"]}"#, r#""default" must be in braces, with "allow", "mode""#),
            (r#"{"default":{"allow":"all"}}"#, r#""default" needs "allow": "*" for everyone"#),
            (r#"{"default":{"allow":[1]}}"#, r#""default" needs "allow""#),
            (r#"{"default":{"allow":"*","mode":"keep"}}"#, r#""default": "mode" must be "trigger""#),
            (r#"{"default":{"allow":"*"},"chat":{}}"#, r#"the file has "chat", but knows only"#),
            (r#"{"default":{"allow":"*"},"chats":["web:a"]}"#, r#""chats" must be in braces"#),
            (r#"{"default":{"allow":"*"},"chats":{"web:a":"*"}}"#, r#"the chat "web:a" must be in braces"#),
            (r#"{"default":{"allow":"*"},"logDenied":1}"#, r#""logDenied" must be true or false"#),
            (r#"{"default":{"allow":"*"},"default":{"allow":[]}}"#, "a name is in it twice"),
        ] {
            let rules = rules(text);
            let problem = rules.problem().unwrap();
            assert!(problem.contains(words), "{text}: {problem}");
            assert!(problem.ends_with(EXAMPLE), "{problem}");
            assert!(!problem.contains("expected") && !problem.contains("struct"), "{problem}");
        }
    }

    #[test]
    fn broken_files_deny_all_but_the_owners_group() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"default":{"allow":"all"}}"#,
            r#"{"default":{"allow":true}}"#,
            r#"{"default":{"allow":"*","mode":"keep"}}"#,
            r#"{"default":{"allow":"*"},"chat":{}}"#,
            r#"{"default":{"allow":"*"},"chats":{"a":{"allow":"*","x":1}}}"#,
            r#"{"chats":{}}"#,
        ] {
            let rules = rules(text);
            assert!(rules.problem().is_some(), "{text}");
            assert_eq!(rules.decide(&chat("web:a"), "x", false), KEPT, "{text}");
            assert_eq!(rules.decide(&chat("tty:main"), "x", true), Decision::Allow, "{text}");
        }
        let unreadable = SenderRules::from_file(Err("permission denied".into()));
        assert_eq!(unreadable.decide(&chat("web:a"), "x", false), KEPT);
    }
}
