//! Checks of single values. Each error says what is allowed.

use toml::{Table, Value};

/// Tools a list may name.
const NAMES: usize = 200;
/// Bytes a name may have.
const NAME_LIMIT: usize = 256;

/// A text that is not empty.
///
/// # Errors
/// When it is none.
pub fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| "it must be a text".to_owned())
}

/// A whole number within bounds.
///
/// # Errors
/// When it is none.
pub fn number(value: &Value, least: usize, most: usize) -> Result<usize, String> {
    let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("it must be a whole number from {least} to {most}"))
}

/// A number from 0 on.
///
/// # Errors
/// When it is none.
pub fn float(value: &Value, most: f64) -> Result<f64, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    number.filter(|number| (0.0..=most).contains(number)).ok_or_else(|| format!("it must be a number from 0 to {most}"))
}

/// A table.
///
/// # Errors
/// When it is none.
pub fn table(value: &Value) -> Result<&Table, String> {
    value.as_table().ok_or_else(|| "it must be a table".to_owned())
}

/// One word that no program takes for an option.
pub(super) fn word(value: &Value) -> Result<String, String> {
    let word = text(value)?;
    let fine = |c: char| !c.is_whitespace() && !c.is_control();
    let fine = word.len() <= NAME_LIMIT && !word.starts_with('-') && word.chars().all(fine);
    fine.then_some(word).ok_or_else(|| "it must be one word".to_owned())
}

/// Names of tools.
pub(super) fn names(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("it must be a list of at most {NAMES} tools' names");
    let list = value.as_array().filter(|list| list.len() <= NAMES).ok_or_else(wrong)?;
    let fine = |name: &String| {
        name.len() <= NAME_LIMIT && !name.starts_with('-') && !name.chars().any(|c| c.is_control() || c == ',')
    };
    list.iter().map(|name| text(name).ok().filter(fine).ok_or_else(wrong)).collect()
}

/// Returns true if a text can be a variable's name.
pub(super) fn is_env_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_LIMIT
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
