//! Checks of single values, for the installation's settings and for those of a group. Each error lists the allowed
//! values.

use std::net::SocketAddr;

/// The smallest memory limit that engines accept: 6 MiB.
const MIN_MEMORY: u64 = 6 << 20;

/// The upper limit, in milliseconds, of the quiet time before a chat's messages start a turn.
pub const MAX_SETTLE_MS: u64 = 60_000;

/// Checks a memory limit such as `512m` or `2g`.
pub fn memory(text: &str) -> Result<String, &'static str> {
    const ALLOWED: &str = "a number with `b`, `k`, `m` or `g`, from 6m to 1024g, for example 2g";
    let lower = text.trim().to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix(['b', 'k', 'm', 'g']) {
        Some(digits) => (digits, lower.as_bytes()[lower.len() - 1]),
        None => (lower.as_str(), b'b'),
    };
    let shift = match unit {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        _ => 0,
    };
    let number: u64 = plain(digits).ok_or(ALLOWED)?;
    let bytes = number.checked_mul(1 << shift).ok_or(ALLOWED)?;
    if (MIN_MEMORY..=1 << 40).contains(&bytes) { Ok(lower) } else { Err(ALLOWED) }
}

/// Checks a CPU limit such as `2` or `0.5`.
pub fn cpus(text: &str) -> Result<String, &'static str> {
    const ALLOWED: &str = "a decimal number from 0.01 to 1024, for example 2 or 0.5";
    let text = text.trim();
    let shape = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !text.starts_with('.');
    let number: f64 = if shape { text.parse().map_err(|_| ALLOWED)? } else { return Err(ALLOWED) };
    if (0.01..=1024.0).contains(&number) { Ok(text.to_owned()) } else { Err(ALLOWED) }
}

/// Checks a limit of processes and threads.
pub fn pids(number: u64) -> Result<u32, &'static str> {
    match u32::try_from(number) {
        Ok(pids @ 16..=4_194_304) => Ok(pids),
        _ => Err("a whole number from 16 to 4194304"),
    }
}

/// Checks a network's name; `none` and `default` have special meanings.
pub fn network(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fine = text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    // These would be the host's own network, or modes of an engine that are no network.
    if fine && !matches!(text, "host" | "bridge-host" | "private" | "slirp4netns" | "pasta") {
        Ok(text.to_owned())
    } else {
        Err("none, default, or the name of a network (letters, digits, `_`, `.`, `-`); not host")
    }
}

/// Checks an image reference.
pub fn image(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fine = (1..=255).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/' | b':' | b'@'));
    if fine { Ok(text.to_owned()) } else { Err("an image reference, for example registry.example/agent:1") }
}

/// Checks a model's name: a single word that no program could take for an option.
pub fn model(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fine = (1..=256).contains(&text.len())
        && !text.starts_with('-')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if fine { Ok(text.to_owned()) } else { Err("the name of a model, one word that does not begin with `-`") }
}

/// Checks a package's version: digits and dots, and perhaps a word after a hyphen.
pub fn version(text: &str) -> Option<String> {
    let text = text.trim();
    let fine = (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    fine.then(|| text.to_owned())
}

/// Returns true if the text can be the name of an environment variable.
pub fn env_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Parses a whole number from `min` to `max`.
pub fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    plain(text.trim()).filter(|n| (min..=max).contains(n))
}

/// The allowed budgets in money, for error messages.
pub const BUDGET_USD: &str = "US dollars a day, a decimal number from 0.01 to 100000, for example 2.50";
/// The allowed budgets in tokens, for error messages.
pub const BUDGET_TOKENS: &str = "tokens a day, a whole number from 1 to 1000000000000";
/// The largest budget in tokens a day.
pub const MAX_BUDGET_TOKENS: u64 = 1_000_000_000_000;

/// Parses an amount of money such as `2.50`.
pub fn dollars(text: &str) -> Option<f64> {
    let text = text.trim();
    let shape = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|usd| shape && is_budget_usd(*usd))
}

/// Returns true if the amount may be a budget.
pub fn is_budget_usd(usd: f64) -> bool {
    (0.01..=100_000.0).contains(&usd)
}

/// Parses a switch: `true`, `yes`, `on` or `1`, and their opposites.
pub fn switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Parses a TCP address.
pub fn address(text: &str) -> Option<SocketAddr> {
    text.trim().parse().ok()
}

/// Parses digits only: no sign, no exponent, no separators.
fn plain(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_limits_are_checked() {
        for good in ["2g", "512m", "6291456", "6144k", "2G", " 1g "] {
            assert!(memory(good).is_ok(), "{good}");
        }
        for bad in ["", "g", "2gb", "1.5g", "-1g", "0", "5m", "2000g", "99999999999999999999g", "2t", "2 g", "é"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
        for good in ["1", "0.5", "2.25", "1024"] {
            assert!(cpus(good).is_ok(), "{good}");
        }
        for bad in ["", "0", "0.001", "-1", "1e3", "inf", "NaN", "1,5", ".5", "1.2.3", "2000"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
        assert!(pids(512).is_ok() && pids(1).is_err() && pids(u64::MAX).is_err());
    }

    #[test]
    fn model_image_and_network_names_are_checked() {
        for good in ["none", "default", "my_net-1.x"] {
            assert!(network(good).is_ok(), "{good}");
        }
        for bad in ["", "host", "container:x", "-x", "a b", "ns:/proc/1/ns/net", "--privileged"] {
            assert!(network(bad).is_err(), "{bad}");
        }
        for good in ["alpine", "localhost:5000/a/b:tag", "x@sha256:abc"] {
            assert!(image(good).is_ok(), "{good}");
        }
        for bad in ["", "-v/:/h", "a b", "a\nb", "--privileged", "é"] {
            assert!(image(bad).is_err(), "{bad}");
        }
        assert!(env_name("A_1") && env_name("_x"));
        assert!(!env_name("") && !env_name("1A") && !env_name("A=B") && !env_name("A-B") && !env_name("A\0"));
    }
}
