//! Figures of a process from `/proc`.

use std::fs;
use std::time::Duration;

/// Returns the proportional set size in KiB.
pub fn pss_kib(pid: u32) -> u64 {
    number(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Returns the resident set size in KiB.
pub fn rss_kib(pid: u32) -> u64 {
    number(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Returns the highest resident set size since [`reset_peak`], in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    number(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Resets the highest resident set size.
pub fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Returns the CPU time of all threads so far, as the scheduler counts it in nanoseconds.
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

/// Returns the process ids of a process's children.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Returns a process's command line; None if the process is gone.
pub fn command_line(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<String> = words.collect();
    words.pop();
    (!words.is_empty()).then_some(words)
}

fn number(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_else(|| panic!("no {key} in {path}"))
}
