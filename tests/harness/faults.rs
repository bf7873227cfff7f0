//! Faults between the program and its disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Environment that makes each sync of the host's files slower.
pub fn slow_sync(ms: u32) -> Vec<(String, String)> {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    let shim = SHIM.get_or_init(|| compile("fsync_delay"));
    vec![("LD_PRELOAD".into(), shim.display().to_string()), ("FSYNC_DELAY_MS".into(), ms.to_string())]
}

/// Environment that makes every write and sync of the host's database fail while a file exists.
pub fn io_switch(switch: &Path) -> Vec<(String, String)> {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    let shim = SHIM.get_or_init(|| compile("io_fault"));
    vec![("LD_PRELOAD".into(), shim.display().to_string()), ("IO_FAULT_SWITCH".into(), switch.display().to_string())]
}

/// Environment that lets the host have so many threads beside its first one.
pub fn thread_limit(threads: usize) -> Vec<(String, String)> {
    vec![("LD_PRELOAD".into(), thread_shim()), ("THREAD_LIMIT".into(), threads.to_string())]
}

/// Environment that makes a thread of the host panic while a file exists, the next time that it looks at the clock.
pub fn panic_switch(thread: &str, switch: &Path) -> Vec<(String, String)> {
    let switch = switch.display().to_string();
    vec![
        ("LD_PRELOAD".into(), thread_shim()),
        ("THREAD_CLOCK_NAME".into(), thread.into()),
        ("THREAD_CLOCK_SWITCH".into(), switch),
    ]
}

fn thread_shim() -> String {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| compile("thread_fault")).display().to_string()
}

/// Builds a library that is loaded before the C library's own functions.
fn compile(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness").join(name).with_extension("c");
    let shim = super::host::scratch().join(format!("{name}-{}.so", std::process::id()));
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(&source)
        .arg("-ldl")
        .status()
        .unwrap_or_else(|e| panic!("cc: {e}"));
    assert!(status.success(), "cc could not build {}", source.display());
    shim
}

/// A disk of a few megabytes; unmounted when dropped. Only root can mount.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one; none without the right to.
    pub fn mount(mib: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pd-").tempdir_in(super::host::scratch()).unwrap();
        let path = dir.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={mib}m,mode=755");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status().unwrap();
        status.success().then_some(Self { path, _dir: dir })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills what is left; returns the file, to make room again.
    pub fn fill(&self) -> PathBuf {
        let file = self.path.join("ballast");
        let mut writer = std::fs::File::create(&file).unwrap();
        let block = vec![0_u8; 4096];
        while std::io::Write::write_all(&mut writer, &block).is_ok() {}
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}
