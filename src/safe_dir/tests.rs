//! The safe folder with real files, real links, real races.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::fs::Mode;

use super::*;

/// A folder that a container could write, and one beside it that must stay untouched.
struct Place {
    _root: tempfile::TempDir,
    inside: PathBuf,
    outside: PathBuf,
    dir: SafeDir,
}

fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    let (inside, outside) = (root.path().join("inside"), root.path().join("outside"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let dir = SafeDir::open(&inside).unwrap();
    Place { _root: root, inside, outside, dir }
}

impl Place {
    fn outside_is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        let meta = fs::metadata(self.outside.join("secret")).unwrap();
        assert_eq!(fs::read_to_string(self.outside.join("secret")).unwrap(), "secret");
        assert_eq!((meta.uid(), meta.nlink()), (rustix::process::getuid().as_raw(), 1));
    }
}

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn only_regular_files_with_one_name_are_read() {
    let p = place();
    fs::write(p.inside.join("file"), "text").unwrap();
    assert_eq!(p.dir.read(name("file"), 4).unwrap(), b"text");
    assert!(p.dir.read(name("file"), 3).unwrap_err().to_string().contains("at most 3"));

    symlink(p.outside.join("secret"), p.inside.join("link")).unwrap();
    symlink("file", p.inside.join("near")).unwrap();
    fs::create_dir(p.inside.join("dir")).unwrap();
    rustix::fs::mkfifoat(&p.dir, "fifo", Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(p.inside.join("socket")).unwrap();
    fs::write(p.inside.join("two"), "names").unwrap();
    fs::hard_link(p.inside.join("two"), p.inside.join("three")).unwrap();
    let sparse = fs::File::create(p.inside.join("sparse")).unwrap();
    sparse.set_len(10 << 30).unwrap();
    let started = Instant::now();
    for (entry, why) in [
        ("link", "a link"),
        ("near", "a link"),
        ("dir", "a directory"),
        ("fifo", "a named pipe"),
        ("socket", "a socket"),
        ("two", "second name"),
        ("three", "second name"),
        ("sparse", "10737418240 bytes"),
    ] {
        let error = p.dir.read(name(entry), 1 << 20).unwrap_err().to_string();
        assert!(error.contains(why), "{entry}: {error}");
    }
    // Opening the pipe for reading would wait for ever.
    assert!(started.elapsed() < Duration::from_secs(20), "nothing of this waits");
    let dev = SafeDir::open(Path::new("/dev")).unwrap();
    assert!(dev.read(name("zero"), 10).unwrap_err().to_string().contains("a device"));
    assert_eq!(p.dir.read(name("missing"), 1).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn names_are_single_and_paths_stay_below() {
    let p = place();
    for bad in ["", ".", "..", "a/b", "/etc/passwd", "../outside/secret", "a\0b"] {
        assert!(p.dir.read(name(bad), 10).is_err(), "{bad:?}");
        assert!(p.dir.write_atomic(name(bad), b"", None, 0o600).is_err(), "{bad:?}");
        assert!(p.dir.create_new(name(bad), b"", None, 0o600).is_err(), "{bad:?}");
        assert!(p.dir.remove(name(bad)).is_err(), "{bad:?}");
        assert!(p.dir.remove_tree(name(bad)).is_err(), "{bad:?}");
        assert!(p.dir.move_to(name(bad), &p.dir, name("x")).is_err(), "{bad:?}");
        assert!(p.dir.exists(name(bad)).is_err(), "{bad:?}");
    }
    for bad in ["", "..", "../outside", "/etc", "a/../../outside", "."] {
        assert!(p.dir.open_dir(Path::new(bad)).is_err(), "{bad:?}");
        assert!(p.dir.ensure_dir(Path::new(bad), None, 0o755).is_err(), "{bad:?}");
    }
    p.outside_is_untouched();
}

#[test]
fn links_are_refused_at_every_step() {
    let p = place();
    fs::create_dir_all(p.inside.join("a/b/c")).unwrap();
    assert!(p.dir.open_dir(Path::new("a/b/c")).is_ok());
    for at in ["a", "a/b", "a/b/c"] {
        let aside = p.inside.join("aside");
        fs::rename(p.inside.join(at), &aside).unwrap();
        for target in [p.outside.clone(), aside.clone(), PathBuf::from("/proc/self/cwd")] {
            symlink(&target, p.inside.join(at)).unwrap();
            assert!(p.dir.open_dir(Path::new("a/b/c")).is_err(), "{at}");
            assert!(open::by_component(p.dir.as_fd(), Path::new("a/b/c")).is_err(), "{at} by component");
            fs::remove_file(p.inside.join(at)).unwrap();
        }
        fs::rename(&aside, p.inside.join(at)).unwrap();
    }
    assert!(open::by_component(p.dir.as_fd(), Path::new("a/b/c")).is_ok());
}

#[test]
fn writing_replaces_what_is_there_and_follows_nothing() {
    let p = place();
    for (i, kind) in ["nothing", "file", "link", "dangling", "hard link", "empty", "full", "fifo"].iter().enumerate() {
        let entry = format!("e{i}");
        let path = p.inside.join(&entry);
        let other = p.inside.join("other");
        match *kind {
            "file" => fs::write(&path, "old").unwrap(),
            "link" => symlink(p.outside.join("secret"), &path).unwrap(),
            "dangling" => symlink(p.outside.join("new"), &path).unwrap(),
            "hard link" => {
                fs::write(&other, "kept").unwrap();
                fs::hard_link(&other, &path).unwrap();
            }
            "empty" => fs::create_dir(&path).unwrap(),
            "full" => fs::create_dir_all(path.join("x/y")).unwrap(),
            "fifo" => rustix::fs::mkfifoat(&p.dir, entry.as_str(), Mode::RWXU).unwrap(),
            _ => {}
        }
        if *kind != "nothing" {
            assert!(!p.dir.create_new(name(&entry), b"new", None, 0o600).unwrap(), "{kind}");
        }
        p.dir.write_atomic(name(&entry), b"new", None, 0o640).unwrap();
        assert_eq!(p.dir.read(name(&entry), 10).unwrap(), b"new", "{kind}");
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }
    assert_eq!(fs::read_to_string(p.inside.join("other")).unwrap(), "kept");
    assert!(p.dir.create_new(name("fresh"), b"1", None, 0o600).unwrap());
    assert!(!p.dir.create_new(name("fresh"), b"2", None, 0o600).unwrap());
    assert_eq!(p.dir.read(name("fresh"), 10).unwrap(), b"1");
    let left: Vec<_> =
        p.dir.names(100).unwrap().into_iter().filter(|n| n.to_string_lossy().contains("-new-")).collect();
    assert!(left.is_empty(), "temporary files are gone: {left:?}");
    p.outside_is_untouched();
}

#[test]
fn directories_are_made_where_links_and_files_stood() {
    let p = place();
    symlink(&p.outside, p.inside.join("link")).unwrap();
    fs::write(p.inside.join("file"), "x").unwrap();
    rustix::fs::mkfifoat(&p.dir, "fifo", Mode::RWXU).unwrap();
    for entry in ["link", "file", "fifo", "fresh"] {
        let dir = p.dir.ensure_dir(&Path::new(entry).join("sub"), None, 0o750).unwrap();
        dir.write_atomic(name("inside"), b"x", None, 0o600).unwrap();
        let meta = fs::symlink_metadata(p.inside.join(entry)).unwrap();
        assert!(meta.is_dir());
        assert_eq!(meta.permissions().mode() & 0o7777, 0o750);
        assert!(p.inside.join(entry).join("sub/inside").exists());
    }
    assert_eq!(p.dir.names(100).unwrap().len(), 4 + 3, "what stood in the way was moved, not removed");
    fs::set_permissions(p.inside.join("fresh"), fs::Permissions::from_mode(0o0)).unwrap();
    assert!(p.dir.ensure_dir(Path::new("fresh/sub"), None, 0o755).is_ok(), "locked folders are opened again");
    p.outside_is_untouched();
}

#[test]
fn moving_replaces_nothing() {
    let p = place();
    let to = p.dir.ensure_dir(Path::new("to"), None, 0o755).unwrap();
    fs::write(p.inside.join("a"), "a").unwrap();
    fs::write(p.inside.join("to/b"), "b").unwrap();
    assert_eq!(p.dir.move_to(name("a"), &to, name("b")).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    p.dir.move_to(name("a"), &to, name("c")).unwrap();
    assert_eq!(to.read(name("c"), 10).unwrap(), b"a");
    symlink(p.outside.join("secret"), p.inside.join("link")).unwrap();
    p.dir.move_to(name("link"), &to, name("link")).unwrap();
    assert!(fs::symlink_metadata(p.inside.join("to/link")).unwrap().is_symlink());
    p.outside_is_untouched();
}

#[test]
fn trees_are_removed_at_any_depth_with_locks_and_links() {
    let p = place();
    let mut dir = p.dir.ensure_dir(Path::new("deep"), None, 0o755).unwrap();
    for _ in 0..3_000 {
        dir = dir.ensure_dir(Path::new("d"), None, 0o755).unwrap();
        symlink(&p.outside, format!("{}/link", dir.proc_path().display())).unwrap();
    }
    let wide = p.dir.ensure_dir(Path::new("deep/wide"), None, 0o755).unwrap();
    for i in 0..2_000 {
        wide.ensure_dir(Path::new(&format!("w{i}/x")), None, 0o755).unwrap();
    }
    for locked in ["deep/locked/in", "deep/locked"] {
        fs::create_dir_all(p.inside.join(locked)).unwrap();
        fs::set_permissions(p.inside.join(locked), fs::Permissions::from_mode(0o0)).unwrap();
    }
    p.dir.remove_tree(name("deep")).unwrap();
    p.dir.remove_tree(name("deep")).unwrap();
    symlink(&p.outside, p.inside.join("link")).unwrap();
    p.dir.remove_tree(name("link")).unwrap();
    assert!(p.dir.names(10).unwrap().is_empty());
    p.outside_is_untouched();
}

#[test]
fn owners_are_repaired_without_following_anything() {
    let p = place();
    let own = Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
    fs::create_dir_all(p.inside.join("a/b")).unwrap();
    fs::write(p.inside.join("a/b/file"), "x").unwrap();
    symlink(p.outside.join("secret"), p.inside.join("a/link")).unwrap();
    symlink(&p.outside, p.inside.join("a/dirlink")).unwrap();
    fs::write(p.inside.join("two"), "x").unwrap();
    fs::hard_link(p.inside.join("two"), p.inside.join("three")).unwrap();
    assert_eq!(p.dir.chown_tree(own).unwrap(), Chowned::default(), "all is right already");
    if own.uid != 0 {
        return;
    }
    let other = Owner { uid: 4_321, gid: 4_322 };
    assert_eq!(p.dir.chown_tree(other).unwrap(), Chowned { changed: 6, skipped: 2 });
    for entry in ["", "a", "a/b", "a/b/file", "a/link", "a/dirlink"] {
        let meta = fs::symlink_metadata(p.inside.join(entry)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4_321, 4_322), "{entry}");
    }
    assert_eq!(fs::metadata(p.inside.join("two")).unwrap().uid(), 0);
    p.dir.write_atomic(name("mine"), b"x", Some(other), 0o600).unwrap();
    p.dir.ensure_dir(Path::new("m/n"), Some(other), 0o700).unwrap();
    for entry in ["mine", "m", "m/n"] {
        let meta = fs::symlink_metadata(p.inside.join(entry)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4_321, 4_322), "{entry}");
    }
    p.outside_is_untouched();
}

/// Runs `attack` in a tight loop on its own thread while `work` is repeated for two seconds.
fn race(attack: impl Fn() + Send + 'static, mut work: impl FnMut()) -> u64 {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let attacker = std::thread::spawn(move || {
        let mut rounds = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            attack();
            rounds += 1;
        }
        rounds
    });
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        work();
    }
    stop.store(true, Ordering::Relaxed);
    attacker.join().unwrap()
}

#[test]
fn swapped_folder_is_not_followed() {
    let p = place();
    let (inside, outside) = (p.inside.clone(), p.outside.clone());
    symlink(&outside, inside.join("link")).unwrap();
    fs::create_dir(inside.join("dir")).unwrap();
    // The folder and a link to the outside change places all the time.
    let attack = move || {
        let _ = rustix::fs::renameat_with(
            rustix::fs::CWD,
            inside.join("dir"),
            rustix::fs::CWD,
            inside.join("link"),
            RenameFlags::EXCHANGE,
        );
    };
    let (mut done, mut refused) = (0_u64, 0_u64);
    let own = Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
    let rounds = race(attack, || {
        match p.dir.open_dir(Path::new("dir")) {
            Ok(dir) => {
                let _ = dir.write_atomic(name("secret"), b"overwritten", None, 0o600);
                assert!(dir.read(name("secret"), 100).unwrap_or_default() != b"secret");
                let _ = dir.create_new(name("more"), b"x", None, 0o600);
                let _ = dir.remove(name("secret"));
                let _ = dir.remove(name("more"));
                done += 1;
            }
            Err(_) => refused += 1,
        }
        let _ = p.dir.chown_tree(own);
    });
    p.outside_is_untouched();
    assert!(rounds > 1_000 && done > 0 && refused > 0, "the race was one: {rounds} {done} {refused}");
}

#[test]
fn making_and_removing_in_a_race_stays_inside() {
    let p = place();
    let (inside, outside) = (p.inside.clone(), p.outside.clone());
    let attack = move || {
        let _ = fs::remove_dir_all(inside.join("a"));
        let _ = symlink(&outside, inside.join("a"));
        let _ = fs::remove_file(inside.join("a"));
        let _ = fs::create_dir(inside.join("a"));
        let _ = symlink(&outside, inside.join("a/b"));
    };
    let mut made = 0_u64;
    race(attack, || {
        if let Ok(dir) = p.dir.ensure_dir(Path::new("a/b"), None, 0o755) {
            made += u64::from(dir.write_atomic(name("x"), b"x", None, 0o600).is_ok());
        }
        let _ = p.dir.remove_tree(name("a"));
    });
    assert!(made > 0);
    p.outside_is_untouched();
}

#[test]
fn reading_a_changing_file_is_bounded() {
    let p = place();
    let path = p.inside.join("grows");
    fs::write(&path, "x").unwrap();
    let grown = path.clone();
    let attack = move || {
        let mut file = fs::OpenOptions::new().append(true).open(&grown).unwrap();
        for _ in 0..64 {
            let _ = file.write_all(&[b'x'; 4096]);
        }
        let _ = file.set_len(1);
    };
    race(attack, || {
        if let Ok(bytes) = p.dir.read(name("grows"), 100_000) {
            assert!(bytes.len() <= 100_000);
        }
    });
    let target = p.outside.join("secret");
    let (inside, link) = (p.inside.clone(), p.inside.join("swap"));
    symlink(target, &link).unwrap();
    fs::write(inside.join("file"), "fine").unwrap();
    let attack = move || {
        let _ = rustix::fs::renameat_with(
            rustix::fs::CWD,
            inside.join("file"),
            rustix::fs::CWD,
            inside.join("swap"),
            RenameFlags::EXCHANGE,
        );
    };
    let mut read = 0_u64;
    race(attack, || {
        if let Ok(bytes) = p.dir.read(name("file"), 100) {
            assert_eq!(bytes, b"fine");
            read += 1;
        }
    });
    assert!(read > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any name: either an error, or the entry is in the folder itself.
    #[test]
    fn any_name_stays_inside(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let p = place();
        let entry = OsStr::from_bytes(&bytes);
        if p.dir.write_atomic(entry, b"x", None, 0o600).is_ok() {
            prop_assert_eq!(p.dir.names(10).unwrap(), vec![entry.to_owned()]);
            prop_assert_eq!(p.dir.read(entry, 10).unwrap(), b"x");
            p.dir.remove_tree(entry).unwrap();
        }
        prop_assert!(p.dir.names(10).unwrap().is_empty());
        p.outside_is_untouched();
    }
}
