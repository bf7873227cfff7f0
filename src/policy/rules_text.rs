//! The errors of a rule file, in words for the person who writes it, and not in those of the parser.

use serde_json::{Map, Value};

/// Returns why the text of a rule file is not valid, with an example. `look` returns the first error in valid JSON.
pub(super) fn complaint(
    text: &str,
    error: &serde_json::Error,
    look: fn(&Value) -> Result<(), String>,
    example: &str,
) -> String {
    let what = match serde_json::from_str::<Value>(text) {
        Err(_) if text.trim().is_empty() => "it is empty".to_owned(),
        Err(_) => format!("it is not JSON: line {}, column {} is where that shows", error.line(), error.column()),
        // `look` finds every error except a repeated name.
        Ok(value) => look(&value).err().unwrap_or_else(|| format!("a name is in it twice, at line {}", error.line())),
    };
    format!("{what}. It should look like this: {example}")
}

/// Returns an object, if all its names are known.
pub(super) fn object<'a>(value: &'a Value, place: &str, known: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let Value::Object(map) = value else {
        return Err(format!("{place} must be in braces, with {}", listed(known)));
    };
    match map.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("{place} has {name:?}, but knows only {}", listed(known))),
        None => Ok(map),
    }
}

/// Checks that a value is missing, true or false.
pub(super) fn flag(map: &Map<String, Value>, name: &str) -> Result<(), String> {
    match map.get(name) {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(_) => Err(format!("{name:?} must be true or false")),
    }
}

/// Returns true if a value is a list of texts.
pub(super) fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
