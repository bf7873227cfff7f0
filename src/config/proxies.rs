//! The proxies in this machine's environment, for containers and image builds.

use std::collections::BTreeMap;

/// The environment variables of proxies.
pub const NAMES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// The proxies, unchanged from the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(BTreeMap<String, String>);

/// The proxies as containers with a network get them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForRooms {
    /// The variables for the container.
    pub env: BTreeMap<String, String>,
    /// Names of proxies on this machine, whose host was replaced by the name that containers use for it.
    pub rewritten: Vec<String>,
    /// Names of proxies with a login: every user of this machine could read it from a container's environment.
    pub withheld: Vec<String>,
}

impl Proxies {
    /// Finds the proxies of an environment.
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        let found = NAMES.iter().filter_map(|name| environment.get_key_value(*name));
        Self(found.filter(|(_, value)| !value.trim().is_empty()).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// The names of those that are set. A build takes their values from the environment of the engine's client.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns true if a proxy is on this machine: a build then needs this machine's network.
    pub fn are_local(&self) -> bool {
        self.addresses().any(|(_, value)| is_loopback(value))
    }

    /// Converts them for containers that reach this machine as `gateway`.
    pub fn for_rooms(&self, gateway: &str) -> ForRooms {
        let mut given = ForRooms::default();
        for (name, value) in self.addresses() {
            if has_login(value) {
                given.withheld.push(name.clone());
            } else if is_loopback(value) {
                given.rewritten.push(name.clone());
                given.env.insert(name.clone(), with_host(value, gateway));
            } else {
                given.env.insert(name.clone(), value.clone());
            }
        }
        if given.env.is_empty() {
            return given;
        }
        // A container reaches itself and this machine without a proxy.
        for (name, value) in self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case("NO_PROXY")) {
            given.env.insert(name.clone(), format!("{value},localhost,127.0.0.1,{gateway}"));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            if !self.0.keys().any(|found| found.eq_ignore_ascii_case("NO_PROXY")) {
                given.env.insert(name.to_owned(), format!("localhost,127.0.0.1,{gateway}"));
            }
        }
        given
    }

    fn addresses(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("NO_PROXY"))
    }
}

/// The name by which an engine's containers reach this machine. Podman defines its name itself.
pub fn gateway(engine: &str) -> &'static str {
    if engine == "podman" { "host.containers.internal" } else { "host.docker.internal" }
}

/// Returns true if an address is a loopback address: in a container it would mean the container.
pub fn is_loopback(address: &str) -> bool {
    let (_, host, _) = parts(address);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Replaces the host of an address and keeps everything else.
pub fn with_host(address: &str, host: &str) -> String {
    let (before, _, after) = parts(address);
    format!("{before}{host}{after}")
}

fn has_login(address: &str) -> bool {
    parts(address).0.contains('@')
}

/// Splits an address into the part before the host, the host, and the part after it.
fn parts(address: &str) -> (&str, &str, &str) {
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find(['/', '?', '#']).map_or(address.len(), |at| start + at);
    let start = address[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let authority = &address[start..end];
    let length = match authority.find(']') {
        Some(at) if authority.starts_with('[') => at + 1,
        // More than one colon: an IPv6 address without brackets.
        _ if authority.matches(':').count() > 1 => authority.len(),
        _ => authority.find(':').unwrap_or(authority.len()),
    };
    (&address[..start], &authority[..length], &address[start + length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &[(&str, &str)]) -> Proxies {
        Proxies::of(&set.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn containers_get_proxies_that_they_can_reach() {
        let given = proxies(&[
            ("HTTPS_PROXY", "http://proxy.lan:3128"),
            ("http_proxy", "http://127.0.0.1:8080/"),
            ("ALL_PROXY", "socks5h://[::1]:1080"),
            ("all_proxy", "http://me:word@proxy.lan:3128"),
            ("no_proxy", ".lan,10.0.0.0/8"),
            ("HTTP_PROXY", " "),
            ("HOME", "/root"),
        ])
        .for_rooms("host.docker.internal");
        let env: Vec<(&str, &str)> = given.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            env,
            [
                ("ALL_PROXY", "socks5h://host.docker.internal:1080"),
                ("HTTPS_PROXY", "http://proxy.lan:3128"),
                ("http_proxy", "http://host.docker.internal:8080/"),
                ("no_proxy", ".lan,10.0.0.0/8,localhost,127.0.0.1,host.docker.internal"),
            ]
        );
        assert_eq!(given.rewritten, ["ALL_PROXY", "http_proxy"]);
        assert_eq!(given.withheld, ["all_proxy"]);
    }

    #[test]
    fn containers_get_no_proxy_variables_without_a_proxy() {
        assert_eq!(proxies(&[]).for_rooms("h"), ForRooms::default());
        assert_eq!(proxies(&[("NO_PROXY", "x")]).for_rooms("h"), ForRooms::default());
        assert!(!proxies(&[("NO_PROXY", "localhost")]).are_local());
        let given = proxies(&[("HTTPS_PROXY", "proxy:1")]).for_rooms("h");
        assert_eq!(given.env["NO_PROXY"], "localhost,127.0.0.1,h");
        assert_eq!(given.env["no_proxy"], given.env["NO_PROXY"]);
    }

    #[test]
    fn loopback_addresses_are_recognized() {
        for local in [
            "localhost",
            "http://localhost:11434/v1",
            "LOCALHOST:1",
            "http://a@127.8.0.1",
            "[::1]:80",
            "http://[::1]",
            "::1",
            "0.0.0.0:11434",
            "db.localhost",
        ] {
            assert!(is_loopback(local), "{local}");
        }
        for other in
            ["http://localhost.lan", "127.0.0.1.example", "10.0.0.1:1", "http://box/localhost", "", "[fe80::1]"]
        {
            assert!(!is_loopback(other), "{other}");
        }
        assert_eq!(with_host("http://u:p@[::1]:80/a?b", "h"), "http://u:p@h:80/a?b");
        assert_eq!(with_host("localhost", "h"), "h");
        assert_eq!(with_host("http://localhost:1@evil:2/", "h"), "http://localhost:1@h:2/");
    }
}
