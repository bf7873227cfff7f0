//! Reads the installation's `prices.toml`: prices of models that the shipped list lacks or has wrong.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::layers::toml_reason;
use crate::domain::prices::{Price, Prices};

/// The largest number of entries.
const COUNT: usize = 1000;
/// The largest plausible price, in US dollars for a million tokens.
const HIGHEST: f64 = 10_000.0;
/// The allowed fields of an entry, for error messages.
const PARTS: &str =
    "use input and output, and if need be cache_read and cache_write, in US dollars for a million tokens";

/// Reads the file, which adds to the shipped list. A missing file adds nothing. Each error has the entry and the
/// allowed values.
pub fn read(path: &Path) -> Result<Prices, Vec<(String, String)>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Prices::default()),
        Err(error) => return Err(vec![("prices.toml".into(), format!("cannot be read: {error}"))]),
    };
    parse(&text)
}

fn parse(text: &str) -> Result<Prices, Vec<(String, String)>> {
    let whole = |why: String| vec![("prices.toml".to_owned(), why)];
    let table: Table = text.parse().map_err(|error: toml::de::Error| whole(toml_reason(text, &error)))?;
    if table.len() > COUNT {
        return Err(whole(format!("has {} models: it may have {COUNT}", table.len())));
    }
    let (mut own, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, value) in table {
        match checked(&name, &value) {
            Ok(price) => drop(own.insert(name, price)),
            Err(why) => wrong.push((name, why)),
        }
    }
    if wrong.is_empty() { Ok(Prices::with(own)) } else { Err(wrong) }
}

fn checked(name: &str, value: &Value) -> Result<Price, String> {
    let start = name.strip_suffix('*').unwrap_or(name);
    if name.len() > 256 || start.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control()) {
        return Err("is no model's name: use one word, with a * only at its end".into());
    }
    let Value::Table(table) = value else {
        let hint = if name.contains('.') || !matches!(value, Value::Float(_) | Value::Integer(_)) {
            String::new()
        } else {
            " (a name with a dot in it stands in quotes: [\"gpt-5.4\"])".to_owned()
        };
        return Err(format!("is no table [\"{name}\"]{hint}: {PARTS}"));
    };
    if let Some((other, value)) =
        table.iter().find(|(key, _)| !["input", "output", "cache_read", "cache_write"].contains(&key.as_str()))
    {
        // `[gpt-5.4]` is a table 4 in a table gpt-5.
        let hint =
            if value.is_table() { format!("; is [\"{name}.{other}\"] meant, in quotes?") } else { String::new() };
        return Err(format!("has no {other:?}{hint}: {PARTS}"));
    }
    let part = |key: &str| {
        let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let fine = |usd: &f64| (0.0..=HIGHEST).contains(usd);
        let found = table.get(key).map(|value| number(value).filter(fine).ok_or(key)).transpose();
        found.map_err(|key| format!("{key} must be a number from 0 to {HIGHEST}, US dollars for a million tokens"))
    };
    let needed = |key: &str| part(key)?.ok_or_else(|| format!("needs {key}: {PARTS}"));
    let (input, output) = (needed("input")?, needed("output")?);
    // Without a price of the cache, its tokens count like input: the estimate is then not too low.
    let (cache_read, cache_write) = (part("cache_read")?.unwrap_or(input), part("cache_write")?.unwrap_or(input));
    Ok(Price { input, output, cache_read, cache_write })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_file_adds_and_replaces_prices() {
        let prices =
            parse("[\"qwen3*\"]\ninput = 0\noutput = 0\n[\"gpt-5.4\"]\ninput = 2\noutput = 12.5\ncache_read = 0.2\n")
                .unwrap();
        let own = prices.of("qwen3:8b").unwrap();
        assert_eq!((own.input, own.output, own.cache_read, own.cache_write), (0.0, 0.0, 0.0, 0.0));
        let changed = prices.of("gpt-5.4").unwrap();
        assert_eq!((changed.output, changed.cache_read, changed.cache_write), (12.5, 0.2, 2.0));
        assert_eq!(read(Path::new("/nonexistent/prices.toml")), Ok(Prices::default()));
    }

    #[test]
    fn prices_file_errors_name_the_allowed_values() {
        for (text, part) in [
            ("x = 3", "is no table"),
            ("[x]\ninput = 1", "needs output"),
            ("[x]\ninput = -1\noutput = 1", "input must be a number from 0"),
            ("[x]\ninput = 1\noutput = 'much'", "output must be a number"),
            ("[x]\ninput = nan\noutput = 1", "input must be a number"),
            ("[x]\ninput = 1\noutput = 1\ncached = 1", "has no \"cached\""),
            ("[gpt-5.4]\ninput = 1\noutput = 1", "is [\"gpt-5.4\"] meant"),
            ("[\"a*b\"]\ninput = 1\noutput = 1", "a * only at its end"),
            ("[x\n", "line 1 is not valid TOML"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.len() == 1 && wrong[0].1.contains(part), "{text}: {wrong:?}");
        }
        assert_eq!(parse("[a]\n[b]\n").unwrap_err().len(), 2, "all at once");
    }
}
