//! The kernel's facts about limits, which engines report slowly or not at all.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::argv::Ulimits;
use super::{Capabilities, Unsupported};

/// Podman's and docker's own default for open files.
const NOFILE: u64 = 1_048_576;
/// Enough for any agent below its `--pids-limit`; podman lowers its own hard limit to some higher number.
const NPROC: u64 = 32_768;
/// The bit of `CAP_SYS_RESOURCE`; without it, no process may raise its hard limits.
const CAP_SYS_RESOURCE: u32 = 24;

/// Returns the controllers that the kernel offers; None if unknown.
pub fn controllers() -> Option<Vec<String>> {
    if let Ok(text) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        return Some(text.split_whitespace().map(str::to_owned).collect());
    }
    fs::read_to_string("/proc/cgroups").ok().map(|text| v1_controllers(&text))
}

fn v1_controllers(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                [name, _, _, "1"] => Some(name.to_owned()),
                _ => None,
            }
        })
        .collect()
}

/// Returns the limits whose controller is missing.
pub fn unsupported(controllers: &[String], why: &str) -> Vec<Unsupported> {
    [("memory", "memory"), ("cpus", "cpu"), ("pids", "pids")]
        .into_iter()
        .filter(|(_, controller)| !controllers.iter().any(|have| have == controller))
        .map(|(what, _)| Unsupported { what, why: why.to_owned() })
        .collect()
}

/// Returns true if the limit cannot be enforced.
pub fn lacks(caps: &Capabilities, what: &str) -> bool {
    caps.unsupported.iter().any(|limit| limit.what == what)
}

/// Returns true if SELinux is on and enforcing.
pub fn selinux_enforcing() -> bool {
    fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1")
}

/// Returns the limits that containers must not exceed, on a machine where even root may not raise them.
pub fn ulimits() -> Option<Ulimits> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    if may_raise_limits(&status)? {
        return None;
    }
    let hard = |resource, most: u64| getrlimit(resource).maximum.unwrap_or(most).min(most);
    Some(Ulimits { nofile: hard(Resource::Nofile, NOFILE), nproc: hard(Resource::Nproc, NPROC) })
}

fn may_raise_limits(status: &str) -> Option<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let bits = u64::from_str_radix(line.trim(), 16).ok()?;
    Some(bits & (1 << CAP_SYS_RESOURCE) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_v1_are_those_enabled() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t3\t1\nmemory\t4\t16\t0\npids\t8\t3\t1\n";
        let have = v1_controllers(text);
        assert_eq!(have, ["cpu", "pids"]);
        let missing = unsupported(&have, "no controller");
        assert_eq!(missing, [Unsupported { what: "memory", why: "no controller".into() }]);
    }

    #[test]
    fn capability_is_read_from_its_bit() {
        assert_eq!(may_raise_limits("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(true));
        assert_eq!(may_raise_limits("CapEff:\t000001fffeffffff\n"), Some(false));
        assert_eq!(may_raise_limits("CapEff:\tx\n"), None);
    }
}
