//! Identifiers. Each is checked when it is made, so every value is valid.

use std::fmt;
use std::str::FromStr;

use parlor_protocol::limits::{MAX_ID, MAX_WORD, is_word};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ulid::Ulid;

use super::schema;

/// Reasons why an id was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text is no folder name.
    #[error(
        "group folder {0:?} is not allowed: use 1 to {MAX_WORD} letters, digits, `_` or `-`, starting with a letter or digit"
    )]
    Folder(String),
    /// The folder name is reserved.
    #[error("group folder {0:?} is reserved: choose another name")]
    Reserved(String),
    /// The text is no chat id.
    #[error(
        "chat id {0:?} is not allowed: use `<channel>:<name>` or a platform's id, 1 to {MAX_ID} characters without spaces or control characters"
    )]
    Jid(String),
    /// The text is no task id.
    #[error("task id {0:?} is not allowed: use 1 to {MAX_WORD} letters, digits, `_` or `-`")]
    Task(String),
    /// The text is no ULID.
    #[error("{0:?} is not an id of Parlor (26 characters)")]
    Ulid(String),
}

/// The forms of ids as regular expressions, for the API's clients; without the reserved words.
const WORD: &str = "^[A-Za-z0-9_-]{1,64}$";
const FOLDER: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";
const JID: &str = r"^[^\s\x00-\x1f\x7f-\x9f]{1,256}$";
const ULID: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $pattern:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        schema::by_hand!($name, stringify!($name), { "type": "string", "pattern": $pattern });
    };
}

text_id! {
    /// A chat on some platform: `web:<name>`, `tty:<name>`, or the platform's own id.
    ChatJid, JID
}
text_id! {
    /// A group's folder name; unique without regard to case, `global` is reserved.
    GroupFolder, FOLDER
}
text_id! {
    /// A scheduled task's id, chosen by the agent or made by the host.
    TaskId, WORD
}

impl FromStr for ChatJid {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let fine = (1..=MAX_ID).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if fine { Ok(Self(text.to_owned())) } else { Err(IdError::Jid(shorten(text))) }
    }
}

impl ChatJid {
    /// The channel's prefix: the part before the first colon; empty without a colon.
    pub fn channel(&self) -> &str {
        self.0.split_once(':').map_or("", |(prefix, _)| prefix)
    }
}

impl FromStr for GroupFolder {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if !is_word(text) || !text.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(IdError::Folder(shorten(text)));
        }
        if text.eq_ignore_ascii_case("global") {
            return Err(IdError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for TaskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_word(text) { Ok(Self(text.to_owned())) } else { Err(IdError::Task(shorten(text))) }
    }
}

/// Cuts a name for an error: it may be long and come from an attacker.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Ulid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Ulid::from_string(text).map(Self).map_err(|_| IdError::Ulid(shorten(text)))
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
        schema::by_hand!($name, stringify!($name), { "type": "string", "pattern": ULID });
    };
}

ulid_id! {
    /// One run of an agent's container.
    RunId
}
ulid_id! {
    /// One row of the outbox; also the idempotency key for the platform.
    DeliveryId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_folders_are_checked() {
        for good in ["main", "a", "A-b_9", "9lives", &"x".repeat(64)] {
            assert!(good.parse::<GroupFolder>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "a b", "../x", "a/b", "global", "GLOBAL", "é", ".a", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<GroupFolder>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_forms_for_clients_have_the_protocols_limits() {
        assert!(WORD.ends_with(&format!("{{1,{MAX_WORD}}}$")) && JID.ends_with(&format!("{{1,{MAX_ID}}}$")));
        assert!(FOLDER.ends_with(&format!("{{0,{}}}$", MAX_WORD - 1)));
    }

    #[test]
    fn jids_know_their_channel() {
        assert_eq!("tty:main".parse::<ChatJid>().unwrap().channel(), "tty");
        assert_eq!("12036@g.us".parse::<ChatJid>().unwrap().channel(), "");
        assert!("a b".parse::<ChatJid>().is_err());
    }
}
