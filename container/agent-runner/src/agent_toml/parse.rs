//! Checks of single values. Each error says which values are allowed.

use toml::{Table, Value};

/// Most names in a list.
const NAMES: usize = 200;
/// Longest name, in bytes.
const NAME_LIMIT: usize = 256;

/// Returns a text that is not empty.
///
/// # Errors
/// If the value is not such a text.
pub fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| "it must be a text".to_owned())
}

/// Returns a whole number from `least` to `most`.
///
/// # Errors
/// If the value is not such a number.
pub fn number(value: &Value, least: usize, most: usize) -> Result<usize, String> {
    let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("it must be a whole number from {least} to {most}"))
}

/// Returns a number from 0 to `most`.
///
/// # Errors
/// If the value is not such a number.
pub fn float(value: &Value, most: f64) -> Result<f64, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    number.filter(|number| (0.0..=most).contains(number)).ok_or_else(|| format!("it must be a number from 0 to {most}"))
}

/// Returns the value as a table.
///
/// # Errors
/// If the value is not a table.
pub fn table(value: &Value) -> Result<&Table, String> {
    value.as_table().ok_or_else(|| "it must be a table".to_owned())
}

/// Returns one word that no program mistakes for an option.
pub(super) fn word(value: &Value) -> Result<String, String> {
    let word = text(value)?;
    let fine = |c: char| !c.is_whitespace() && !c.is_control();
    let fine = word.len() <= NAME_LIMIT && !word.starts_with('-') && word.chars().all(fine);
    fine.then_some(word).ok_or_else(|| "it must be one word".to_owned())
}

/// Returns a list of tools' names.
pub(super) fn names(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("it must be a list of at most {NAMES} tools' names");
    let list = value.as_array().filter(|list| list.len() <= NAMES).ok_or_else(wrong)?;
    let fine = |name: &String| {
        name.len() <= NAME_LIMIT && !name.starts_with('-') && !name.chars().any(|c| c.is_control() || c == ',')
    };
    list.iter().map(|name| text(name).ok().filter(fine).ok_or_else(wrong)).collect()
}

/// Returns true if the text can be the name of an environment variable.
pub(super) fn is_env_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_LIMIT
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
