//! Faults of the host's disk, threads and clock, which preloaded libraries inject.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the environment that delays each sync of the host's files.
pub fn slow_sync(ms: u32) -> Vec<(String, String)> {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    let shim = SHIM.get_or_init(|| compile("fsync_delay"));
    vec![("LD_PRELOAD".into(), shim.display().to_string()), ("FSYNC_DELAY_MS".into(), ms.to_string())]
}

/// Returns the environment that makes every write and sync of the host's database fail while a file exists.
pub fn io_switch(switch: &Path) -> Vec<(String, String)> {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    let shim = SHIM.get_or_init(|| compile("io_fault"));
    vec![("LD_PRELOAD".into(), shim.display().to_string()), ("IO_FAULT_SWITCH".into(), switch.display().to_string())]
}

/// Returns the environment that limits the number of the host's threads beside its first one.
pub fn thread_limit(threads: usize) -> Vec<(String, String)> {
    vec![("LD_PRELOAD".into(), thread_shim()), ("THREAD_LIMIT".into(), threads.to_string())]
}

/// Returns the environment that makes a thread of the host panic at its next look at the clock, while a file exists.
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

/// Compiles a library that is loaded before the C library.
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

/// A disk of a few megabytes, which is unmounted when it is dropped. Only root can mount.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts a disk; None if the user may not mount.
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

    /// Fills the rest of the disk; returns the file, whose removal makes space again.
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
