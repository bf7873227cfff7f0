//! The file tree of Parlor's own image as one tar file; the same inputs give the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::runner::Runner;
use super::{ImageError, Inputs};

/// The agent's program in the image.
pub const ENTRYPOINT: &str = "/app/agent-runner";
/// An environment variable of the image: all programs in rooms use UTF-8.
pub const LOCALE: &str = "LANG=C.UTF-8";
/// The agent's working directory.
pub const WORKDIR: &str = "/workspace/group";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000:node:/home/node:/bin/sh\n\
                      nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n";

/// Folders with their modes. Containers run with any user id, so folders that an agent may use without a mount are
/// open to all; everything else belongs to root.
const FOLDERS: [(&str, u32); 27] = [
    ("app", 0o755),
    ("app/agent", 0o777),
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/ssl", 0o755),
    ("etc/ssl/certs", 0o755),
    ("home", 0o755),
    ("home/node", 0o777),
    ("home/node/.claude", 0o777),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sbin", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("usr/share", 0o755),
    ("usr/share/zoneinfo", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
    ("workspace", 0o755),
    ("workspace/extra", 0o755),
    ("workspace/group", 0o777),
    ("workspace/ipc", 0o777),
];

/// One entry of the tree.
enum Node<'a> {
    Folder(u32),
    File(u32, Source<'a>),
    Link(PathBuf),
}

/// Nothing is held in memory as a whole, so the host stays small when it makes the image at its first start.
enum Source<'a> {
    Bytes(&'a [u8]),
    Runner(&'a Runner),
    Path(PathBuf),
}

/// Writes the tree. Returns the SHA-256 of the bytes and of the image's configuration, in hex.
pub fn write_tar(inputs: &Inputs, out: impl Write) -> Result<String, ImageError> {
    let nodes = tree(inputs)?;
    let mut builder = Builder::new(Hashing { out, hash: Sha256::new() });
    for (path, node) in &nodes {
        append(&mut builder, path, node).map_err(|source| ImageError::io("write the image's tree at", path, source))?;
    }
    let mut done = builder.into_inner().map_err(|e| ImageError::io("write the image's tree", Path::new(""), e))?;
    done.out.flush().map_err(|e| ImageError::io("write the image's tree", Path::new(""), e))?;
    done.hash.update(ENTRYPOINT);
    done.hash.update([0]);
    done.hash.update(WORKDIR);
    done.hash.update([0]);
    done.hash.update(LOCALE);
    let digest = done.hash.finalize();
    Ok(digest.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}")))
}

fn tree(inputs: &Inputs) -> Result<BTreeMap<PathBuf, Node<'_>>, ImageError> {
    let mut nodes: BTreeMap<PathBuf, Node<'_>> =
        FOLDERS.iter().map(|(path, mode)| (PathBuf::from(path), Node::Folder(*mode))).collect();
    let mut file = |path: &str, mode, source| nodes.insert(PathBuf::from(path), Node::File(mode, source));
    file("app/agent-runner", 0o755, Source::Runner(&inputs.runner));
    file("bin/busybox", 0o755, Source::Path(inputs.busybox.clone()));
    // Writable for all, so that the runner can add its own user: the host chooses the uid. Nothing in a room relies
    // on these files.
    file("etc/passwd", 0o666, Source::Bytes(PASSWD.as_bytes()));
    file("etc/group", 0o666, Source::Bytes(GROUP.as_bytes()));
    file("etc/ssl/certs/ca-certificates.crt", 0o644, Source::Path(inputs.ca_certificates.clone()));
    nodes.insert("usr/bin/parlor-tool".into(), Node::Link("/app/agent-runner".into()));
    for applet in applets(&inputs.busybox)? {
        nodes.entry(applet).or_insert_with(|| Node::Link("/bin/busybox".into()));
    }
    zoneinfo(&inputs.zoneinfo, Path::new(""), &mut nodes)?;
    Ok(nodes)
}

/// Returns the paths of busybox's applets, without the leading slash.
fn applets(busybox: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let output = Command::new(busybox)
        .arg("--list-full")
        .output()
        .map_err(|source| ImageError::io("ask for its applets", busybox, source))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let known = ["bin", "sbin", "usr/bin", "usr/sbin"];
    let found: Vec<PathBuf> = text
        .lines()
        .map(|line| PathBuf::from(line.trim().trim_start_matches('/')))
        .filter(|path| path.parent().and_then(Path::to_str).is_some_and(|parent| known.contains(&parent)))
        .collect();
    if found.iter().any(|path| path == Path::new("bin/sh")) {
        return Ok(found);
    }
    Err(ImageError::Input {
        what: "busybox",
        path: busybox.to_owned(),
        reason: "it does not list its applets".to_owned(),
        hint: Inputs::BUSYBOX_HINT,
    })
}

/// Adds the time zones. `posix/` repeats them, `right/` counts leap seconds, `localtime` is the host's own.
fn zoneinfo(root: &Path, below: &Path, nodes: &mut BTreeMap<PathBuf, Node<'_>>) -> Result<(), ImageError> {
    let dir = root.join(below);
    let failed = |path: &Path, source| ImageError::io("read the time zones in", path, source);
    for entry in fs::read_dir(&dir).map_err(|e| failed(&dir, e))? {
        let entry = entry.map_err(|e| failed(&dir, e))?;
        let inside = below.join(entry.file_name());
        if below.as_os_str().is_empty()
            && ["posix", "right", "localtime", "posixrules"].iter().any(|skip| entry.file_name() == *skip)
        {
            continue;
        }
        let path = entry.path();
        let target = Path::new("usr/share/zoneinfo").join(&inside);
        let kind = entry.file_type().map_err(|e| failed(&path, e))?;
        if kind.is_dir() {
            nodes.insert(target, Node::Folder(0o755));
            zoneinfo(root, &inside, nodes)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&path).map_err(|e| failed(&path, e))?;
            if stays_inside(below, &link) {
                nodes.insert(target, Node::Link(link));
            } else if fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
                nodes.insert(target, Node::File(0o644, Source::Path(path)));
            }
        } else if kind.is_file() {
            nodes.insert(target, Node::File(0o644, Source::Path(path)));
        }
    }
    Ok(())
}

/// Returns true if a relative link from a folder stays below the root.
fn stays_inside(from: &Path, link: &Path) -> bool {
    let mut depth = from.components().count();
    for component in link.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

fn append(builder: &mut Builder<impl Write>, path: &Path, node: &Node<'_>) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match node {
        Node::Folder(mode) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            // A folder's name ends in a slash.
            builder.append_data(&mut header, path.join(""), io::empty())
        }
        Node::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            builder.append_link(
                &mut header,
                path,
                Path::new(std::ffi::OsStr::from_bytes(target.as_os_str().as_bytes())),
            )
        }
        Node::File(mode, source) => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            match source {
                Source::Bytes(bytes) => {
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, path, *bytes)
                }
                Source::Runner(runner) => {
                    let (size, bytes) = runner.open();
                    append_stream(builder, &mut header, path, size, bytes)
                }
                Source::Path(from) => append_file(builder, &mut header, path, from).map_err(|e| named(from, &e)),
            }
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display()))
}

fn append_file(builder: &mut Builder<impl Write>, header: &mut Header, path: &Path, from: &Path) -> io::Result<()> {
    let file = File::open(from)?;
    let size = file.metadata()?.len();
    append_stream(builder, header, path, size, file)
}

fn append_stream(
    builder: &mut Builder<impl Write>,
    header: &mut Header,
    path: &Path,
    size: u64,
    from: impl Read,
) -> io::Result<()> {
    header.set_size(size);
    let mut bytes = Counting { file: from.take(size), read: 0 };
    builder.append_data(header, path, &mut bytes)?;
    // The header with the size is written before the content.
    if bytes.read == size { Ok(()) } else { Err(io::Error::other("it became shorter while it was read")) }
}

/// Counts the bytes that are read.
struct Counting<R> {
    file: io::Take<R>,
    read: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read += n as u64;
        Ok(n)
    }
}

/// Hashes the bytes that are written.
struct Hashing<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns whether a 64-bit ELF program runs without a dynamic loader; None if it is not such a program.
pub fn is_static(program: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, len: usize| -> Option<u64> {
        let bytes = program.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    // Little-endian, 64 bits: every machine that Parlor is built for.
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let start = usize::try_from(number(32, 8)?).ok()?;
    let size = usize::try_from(number(54, 2)?).ok()?;
    let count = usize::try_from(number(56, 2)?).ok()?;
    for index in 0..count {
        if number(start.checked_add(index.checked_mul(size)?)?, 4)? == u64::from(PT_INTERP) {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_links_are_kept_only_inside_the_tree() {
        assert!(stays_inside(Path::new("Europe"), Path::new("../Asia/Nicosia")));
        assert!(stays_inside(Path::new(""), Path::new("Etc/UTC")));
        assert!(!stays_inside(Path::new(""), Path::new("../x")));
        assert!(!stays_inside(Path::new("Europe"), Path::new("../../x/../zoneinfo/UTC")));
        assert!(!stays_inside(Path::new("Europe"), Path::new("/etc/localtime")));
    }

    #[test]
    fn static_programs_are_recognised() {
        assert_eq!(is_static(&fs::read("/bin/busybox").unwrap()), Some(true));
        assert_eq!(is_static(&fs::read(std::env::current_exe().unwrap()).unwrap()), Some(false));
        let mut runner = Vec::new();
        let (size, mut bytes) = Runner::Embedded.open();
        bytes.read_to_end(&mut runner).unwrap();
        assert_eq!((runner.len() as u64, is_static(&runner)), (size, Some(true)));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(b"\x7fELF\x02\x01"), None);
    }

    #[test]
    fn tar_of_the_same_inputs_has_the_same_bytes() {
        let inputs = Inputs::system();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let first = write_tar(&inputs, &mut one).unwrap();
        assert_eq!(first, write_tar(&inputs, &mut two).unwrap());
        assert!(one == two);
        let mut other = inputs.clone();
        other.runner = Runner::Bytes(b"another".as_slice().into());
        assert_ne!(first, write_tar(&other, io::sink()).unwrap());
    }

    #[test]
    fn tree_has_the_files_that_an_agent_needs() {
        let mut bytes = Vec::new();
        write_tar(&Inputs::system(), &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut seen = BTreeMap::new();
        let mut last = String::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
            let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
            let link = entry.link_name().unwrap().map(|link| link.to_string_lossy().into_owned());
            seen.insert(path.clone(), (header.mode().unwrap(), link));
            last = path;
        }
        assert!(!last.is_empty());
        let linked = |path: &str| seen[path].1.as_deref().map(str::to_owned);
        assert_eq!(seen["tmp"].0, 0o1777);
        assert_eq!(seen["home/node"].0, 0o777);
        assert_eq!(seen["app/agent-runner"].0, 0o755);
        assert_eq!(linked("usr/bin/parlor-tool").as_deref(), Some("/app/agent-runner"));
        assert_eq!(linked("bin/sh").as_deref(), Some("/bin/busybox"));
        assert_eq!(linked("usr/bin/env").as_deref(), Some("/bin/busybox"));
        for path in ["usr/share/zoneinfo/Europe/Berlin", "etc/passwd", "etc/ssl/certs/ca-certificates.crt"] {
            assert!(seen.contains_key(path), "{path}");
        }
        assert!(!seen.contains_key("usr/share/zoneinfo/localtime"));
    }
}
