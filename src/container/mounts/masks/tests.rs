use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::search::DEPTH;
use super::*;

struct Place {
    dir: tempfile::TempDir,
    home: Home,
    known: RefCell<Known>,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().canonicalize().unwrap());
    Place { dir, home, known: RefCell::default() }
}

impl Place {
    fn write(&self, path: &str) -> &Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "KEY=x").unwrap();
        self
    }
    fn link(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.dir.path().join(path)).unwrap();
        self
    }
    /// Searches until all clean folders are known; a folder that just changed is not.
    fn settle(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(self.shown().is_empty());
            let known = self.known.borrow().len();
            let folders = walk(self.dir.path());
            if known == folders {
                return;
            }
            assert!(Instant::now() < deadline, "{known} of {folders} folders are known");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    fn masks(&self) -> Masks {
        Masks::find(&self.home, &mut self.known.borrow_mut()).unwrap()
    }
    /// Returns the masked paths, folders with a slash, without the two that are always there.
    fn shown(&self) -> Vec<String> {
        let masks = self.masks();
        let shown = |(path, source): (&Path, &MountSource)| {
            format!("{}{}", path.display(), if *source == MountSource::Tmpfs { "/" } else { "" })
        };
        masks.iter().map(shown).filter(|path| path != "data/" && path != ".env").collect()
    }
}

/// Counts the folders below the top and `groups/`, which are read each time.
fn walk(dir: &Path) -> usize {
    let folders = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    folders.map(|path| usize::from(!path.ends_with("groups")) + walk(&path)).sum()
}

#[test]
fn every_env_file_is_masked_at_any_depth() {
    let p = place();
    p.write("a/b/c/d/e/f/.env").write("a/b/.env.local").write("a/.envrc").write("a/b/env").write("a/x.env");
    p.write(".env.prod").write("a/venv/.env.d/one").write("data/x/.env").write("a/b/.environment/.env");
    assert_eq!(
        p.shown(),
        [".env.prod", "a/.envrc", "a/b/.env.local", "a/b/.environment/", "a/b/c/d/e/f/.env", "a/venv/.env.d/"]
    );
    assert!(p.masks().whole().next().is_none());
    assert!(p.masks().to_string().starts_with("data, .env, .env.prod, a/.envrc"), "{}", p.masks());
}

#[test]
fn group_folder_with_an_env_file_is_hidden_as_a_whole() {
    let p = place();
    p.write("groups/a/deep/er/.env").write("groups/b/notes.txt").write("groups/c/.env.example").write("groups/.env");
    // A link counts as a name like any other, whatever its target.
    p.write("groups/d/x").link("groups/d/.env", "/nowhere").link("groups/e", "/etc");
    assert_eq!(p.shown(), ["groups/.env", "groups/a/", "groups/c/", "groups/d/"]);
    assert_eq!(p.masks().whole().next().unwrap(), "groups/a (it holds a .env file)");
}

#[test]
fn links_are_not_followed_and_the_operators_hide_their_target() {
    let p = place();
    p.write("secrets/keys").write("groups/a/x/y").write("groups/b/x").write("data/x").write("keys/one");
    fs::create_dir(p.dir.path().join("tools")).unwrap();
    p.link("tools/.env", "../secrets/keys")
        .link("tools/.env.a", "../groups/a/x/y")
        .link("tools/.env.out", "/etc/passwd");
    p.link("tools/.env.data", "../data/x").link("tools/.env.none", "nowhere").link("tools/.env.dir", "../keys");
    p.link("groups/.env", "../tools/readme").write("tools/readme");
    // A loop, and a folder outside.
    p.link("tools/up", "..").link("tools/etc", "/etc");
    assert_eq!(p.shown(), ["groups/a/", "keys/", "secrets/keys", "tools/readme"]);
}

#[test]
fn unmountable_paths_hide_the_folder_above() {
    let p = place();
    p.write("a/b/.env:x").write("a/c/.env,y").write("d/to:ols/.env").write("e/\u{1b}[2J/f/.env").write("g/h\n/x");
    p.write("x:y/.env").write(".env\"z").write("i/j/.env").write("k/fine:x/readme");
    assert_eq!(p.shown(), ["a/b/", "a/c/", "d/", "e/", "i/j/.env"]);
    assert_eq!(p.masks().whole().next().unwrap(), "a/b (a .env file in it has a path that engines cannot mount)");
}

#[test]
fn too_many_masks_hide_the_folder_and_too_many_groups_all_of_them() {
    let p = place();
    for n in 0..PER_FOLDER {
        p.write(&format!("few/{n}/.env"));
    }
    for n in 0..=PER_FOLDER {
        p.write(&format!("x/many/{n}/.env")).write(&format!("x/flat/.env{n}"));
    }
    for n in 0..5000 {
        p.write(&format!("groups/hostile/.env{n}"));
    }
    let shown = p.shown();
    assert_eq!(shown.len(), PER_FOLDER + 3, "{shown:?}");
    assert_eq!(shown[PER_FOLDER..], ["groups/hostile/", "x/flat/", "x/many/"]);
    for n in 0..GROUP_MASKS {
        p.write(&format!("groups/g{n}/.env"));
    }
    let shown = p.shown();
    assert_eq!(shown[PER_FOLDER..], ["groups/", "x/flat/", "x/many/"]);
    for n in 0..OWN_MASKS {
        p.write(&format!("z{n:02}/a/.env")).write(&format!("z{n:02}/b/.env"));
    }
    let masks = p.masks();
    assert!(masks.iter().count() < 2 * OWN_MASKS, "{}", masks.iter().count());
    // Folders beyond the limit are still hidden.
    let last = format!("z{:02}", OWN_MASKS - 1);
    assert!(masks.iter().any(|(path, source)| path == Path::new(&last) && *source == MountSource::Tmpfs));
}

#[test]
fn folders_beyond_the_budget_are_hidden() {
    let p = place();
    for n in 0..FOLDER_BUDGET {
        fs::create_dir_all(p.dir.path().join("big/flat")).unwrap();
        fs::File::create(p.dir.path().join(format!("big/flat/{n}"))).unwrap();
    }
    p.write("big/readme").write("beside/.env");
    let deep: PathBuf = (0..=DEPTH).map(|_| "d").collect();
    fs::create_dir_all(p.dir.path().join("deep").join(&deep)).unwrap();
    fs::create_dir_all(p.dir.path().join("groups/deep").join(&deep)).unwrap();
    p.write("groups/a/x");
    let shown = p.shown();
    assert_eq!((shown[0].as_str(), shown[1].as_str()), ("beside/.env", "big/flat/"));
    let covered: PathBuf = Path::new("deep").join((0..DEPTH).map(|_| "d").collect::<PathBuf>());
    assert_eq!(shown[2..], [format!("{}/", covered.display()), "groups/deep/".to_owned()]);
    let whole: Vec<String> = p.masks().whole().collect();
    assert_eq!(whole[0], "big/flat (it is too large to search)");
    assert_eq!(whole[2], "groups/deep (it is too deep to search)");
}

#[test]
fn budget_of_a_group_is_not_used_up_by_others() {
    let p = place();
    for n in 0..GROUP_BUDGET {
        fs::create_dir_all(p.dir.path().join("groups/a")).unwrap();
        fs::File::create(p.dir.path().join(format!("groups/a/{n}"))).unwrap();
    }
    p.write("groups/b/notes/one").write("groups/c/notes/.env");
    assert_eq!(p.shown(), ["groups/a/", "groups/c/"]);
}

#[test]
fn thousands_of_groups_are_searched_in_no_time() {
    let p = place();
    for n in 0..3000 {
        p.write(&format!("groups/g{n}/CLAUDE.md")).write(&format!("groups/g{n}/notes/one.md"));
    }
    let search = || {
        let began = Instant::now();
        assert!(p.shown().is_empty());
        began.elapsed()
    };
    let first = search();
    p.settle();
    let known = p.known.borrow().len();
    let again = (0..5).map(|_| search()).min().unwrap();
    println!("3,000 groups of two folders: {first:?} at first, {again:?} again");
    assert_eq!(known, 6000);
    assert!(again < first.max(Duration::from_secs(1)), "{again:?}");
}

#[test]
fn known_folders_are_searched_again_after_a_change() {
    let p = place();
    p.write("tools/a/readme").write("groups/a/b/c/notes").write("groups/b/x").write("groups/c/y/z");
    p.settle();
    assert_eq!(p.known.borrow().len(), 8);
    // Deep in a group, in the place of a known folder, and in a new place.
    p.write("groups/a/b/c/.env").write("tools/a/.env");
    fs::rename(p.dir.path().join("groups/c/y"), p.dir.path().join("gone")).unwrap();
    p.write("groups/c/y/.env");
    assert_eq!(p.shown(), ["groups/a/", "groups/c/", "tools/a/.env"]);
    fs::remove_file(p.dir.path().join("groups/a/b/c/.env")).unwrap();
    fs::remove_file(p.dir.path().join("tools/a/.env")).unwrap();
    assert_eq!(p.shown(), ["groups/c/"]);
    // Known folders cost budget as well.
    let mut known = p.known.borrow_mut();
    known.claim_entries(FOLDER_BUDGET);
    let masks = Masks::find(&p.home, &mut known).unwrap();
    assert!(masks.whole().any(|why| why == "groups/b (it is too large to search)"), "{masks}");
}

#[test]
fn names_that_change_during_the_search_are_masked_or_absent() {
    let p = place();
    p.write("groups/a/x/.env").write("groups/b/y");
    let (root, stop) = (p.dir.path().to_owned(), std::sync::atomic::AtomicBool::new(false));
    let stop = &stop;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (x, aside) = (root.join("groups/a/x"), root.join("groups/a/y"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(&x, &aside).unwrap();
                symlink("/etc", &x).unwrap();
                fs::remove_file(&x).unwrap();
                fs::rename(&aside, &x).unwrap();
            }
        });
        for _ in 0..2000 {
            let shown = p.shown();
            assert!(shown.is_empty() || shown == ["groups/a/"], "{shown:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
