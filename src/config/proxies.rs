//! The proxies of this machine's environment, for rooms and image builds.

use std::collections::BTreeMap;

/// The variables that programs know.
pub const NAMES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// The proxies of the environment, as they stand there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(BTreeMap<String, String>);

/// What rooms with a network get of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForRooms {
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Names of those that lead to this machine, under the name that rooms know it by.
    pub rewritten: Vec<String>,
    /// Names of those that hold a login, which everybody on this machine could read from a container's environment.
    pub withheld: Vec<String>,
}

impl Proxies {
    /// Those of an environment.
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        let found = NAMES.iter().filter_map(|name| environment.get_key_value(*name));
        Self(found.filter(|(_, value)| !value.trim().is_empty()).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// The names of those that are set. A build takes their values from the environment of the engine's client.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns true if one leads to this machine itself: a build needs this machine's network for it.
    pub fn are_local(&self) -> bool {
        self.addresses().any(|(_, value)| is_loopback(value))
    }

    /// For rooms that know this machine by the name `gateway`.
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
        // What a room reaches on itself and on this machine needs no proxy.
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

/// The name that rooms of an engine know this machine by. Podman gives it to them itself.
pub fn gateway(engine: &str) -> &'static str {
    if engine == "podman" { "host.containers.internal" } else { "host.docker.internal" }
}

/// Returns true if an address means the machine that it is used on: in a room that is the room itself.
pub fn is_loopback(address: &str) -> bool {
    let (_, host, _) = parts(address);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// An address with another host, everything else kept.
pub fn with_host(address: &str, host: &str) -> String {
    let (before, _, after) = parts(address);
    format!("{before}{host}{after}")
}

fn has_login(address: &str) -> bool {
    parts(address).0.contains('@')
}

/// Returns what comes before the host, the host, and what comes after it.
fn parts(address: &str) -> (&str, &str, &str) {
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find(['/', '?', '#']).map_or(address.len(), |at| start + at);
    let start = address[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let authority = &address[start..end];
    let length = match authority.find(']') {
        Some(at) if authority.starts_with('[') => at + 1,
        // More colons than one are an address of version 6 without its brackets.
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
    fn rooms_get_what_leads_somewhere_from_there() {
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
    fn rooms_get_nothing_where_there_is_no_proxy() {
        assert_eq!(proxies(&[]).for_rooms("h"), ForRooms::default());
        assert_eq!(proxies(&[("NO_PROXY", "x")]).for_rooms("h"), ForRooms::default());
        assert!(!proxies(&[("NO_PROXY", "localhost")]).are_local());
        let given = proxies(&[("HTTPS_PROXY", "proxy:1")]).for_rooms("h");
        assert_eq!(given.env["NO_PROXY"], "localhost,127.0.0.1,h");
        assert_eq!(given.env["no_proxy"], given.env["NO_PROXY"]);
    }

    #[test]
    fn addresses_of_the_machine_itself() {
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
