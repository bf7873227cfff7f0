use std::fs;
use std::os::unix::fs::symlink;

use super::*;

struct Host {
    dir: tempfile::TempDir,
    root: PathBuf,
    protected: Vec<PathBuf>,
}

fn host() -> Host {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for name in ["rw/docs", "rw/.ssh", "ro/docs", "other", "home/notes", "rw/inst/data", "rw/a:b", "rw/Credentials-old"]
    {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let protected = vec![root.join("rw/inst/data")];
    Host { dir, root, protected }
}

impl Host {
    fn rules(&self) -> MountRules {
        let root = self.root.display();
        MountRules::from_file(Ok(Some(format!(
            r#"{{"allowedRoots":[{{"path":"{root}/rw","allowReadWrite":true,"description":"d"}},
               {{"path":"{root}/ro","allowReadWrite":false}},{{"path":"~/notes"}},{{"path":"{root}/missing"}}],
               "blockedPatterns":["Topsecret"],"nonMainReadOnly":true}}"#
        ))))
    }

    fn check(&self, path: &str, to: Option<&str>, readonly: Option<bool>, main: bool) -> Result<AllowedMount, String> {
        let user_home = self.root.join("home");
        let view =
            HostView { user_home: Some(&user_home), protected: &self.protected, resolve: &|p: &Path| p.canonicalize() };
        let host_path = path.replace("ROOT", &self.root.display().to_string());
        let mount = AdditionalMount { host_path, container_path: to.map(str::to_owned), readonly };
        self.rules().validate(&mount, main, &view)
    }
}

#[test]
fn allowed_paths_pass_and_are_read_only_unless_asked_and_allowed() {
    let host = host();
    let plain = host.check("ROOT/rw/docs", None, None, true).unwrap();
    assert_eq!(plain.target, "/workspace/extra/docs");
    assert_eq!(plain.host, host.dir.path().canonicalize().unwrap().join("rw/docs"));
    assert!(!plain.writable && plain.note.is_none());
    assert!(host.check("ROOT/rw/docs", Some("x/y"), Some(false), true).unwrap().writable);
    let other = host.check("ROOT/rw/docs", None, Some(false), false).unwrap();
    assert!(!other.writable && other.note.unwrap().contains("nonMainReadOnly"));
    let read_only = host.check("ROOT/ro/docs", None, Some(false), true).unwrap();
    assert!(!read_only.writable && read_only.note.unwrap().contains("allowReadWrite"));
    assert_eq!(host.check("~/notes", None, None, false).unwrap().target, "/workspace/extra/notes");
}

#[test]
fn mounts_outside_the_rules_are_refused() {
    let host = host();
    for (path, why) in [
        ("ROOT/other", "under no allowed root"),
        ("ROOT/rw/none", "cannot be resolved"),
        ("ROOT/rw/.ssh", "blocked"),
        ("ROOT/rw/Credentials-old", "blocked"),
        ("ROOT/rw/../other", "`..`"),
        ("rw/docs", "absolute"),
        ("", "absolute"),
        ("~other/x", "absolute"),
        ("ROOT/rw/a:b", "container path"),
        ("ROOT/rw/inst/data", "no group may see"),
        ("ROOT/rw/inst", "no group may see"),
        ("ROOT/rw", "no group may see"),
        ("/", "container path"),
    ] {
        let error = host.check(path, None, None, true).unwrap_err();
        assert!(error.contains(why), "{path}: {error}");
    }
    for to in ["/abs", "..", "a/../b", "", "a:b", "a,b", "./a", "a\nb", "."] {
        assert!(host.check("ROOT/rw/docs", Some(to), None, true).is_err(), "{to}");
    }
    let colon = host.check("ROOT/rw/a:b", Some("fine"), None, true).unwrap_err();
    assert!(colon.contains("rename"), "{colon}");
}

#[test]
fn links_are_resolved_before_the_decision() {
    let host = host();
    symlink("/etc", host.root.join("rw/etc")).unwrap();
    symlink(host.root.join("rw/.ssh"), host.root.join("rw/keys")).unwrap();
    symlink(host.root.join("ro/docs"), host.root.join("other/in")).unwrap();
    assert!(host.check("ROOT/rw/etc", None, None, true).unwrap_err().contains("no allowed root"));
    assert!(host.check("ROOT/rw/keys", None, None, true).unwrap_err().contains("blocked"));
    assert!(host.check("ROOT/other/in", None, None, true).is_ok(), "what counts is where it leads");
}

#[test]
fn own_patterns_are_blocked_in_any_case() {
    let host = host();
    fs::create_dir_all(host.root.join("rw/topSECRET-files/x")).unwrap();
    assert!(host.check("ROOT/rw/topSECRET-files/x", None, None, true).unwrap_err().contains("blocked"));
}

#[test]
fn missing_and_broken_files_allow_nothing() {
    let host = host();
    let view = HostView { user_home: None, protected: &[], resolve: &|p: &Path| p.canonicalize() };
    let mount = AdditionalMount {
        host_path: host.root.join("rw/docs").display().to_string(),
        container_path: None,
        readonly: None,
    };
    for file in [
        Ok(None),
        Err("permission denied".to_owned()),
        Ok(Some(String::new())),
        Ok(Some("[]".to_owned())),
        Ok(Some(r#"{"allowedRoots":["/"]}"#.to_owned())),
        Ok(Some(r#"{"allowedRoots":[{"path":"/","allowReadWrite":"yes"}]}"#.to_owned())),
        Ok(Some(r#"{"allowedRoots":[{"path":"/"}],"blockedPattern":[]}"#.to_owned())),
    ] {
        let rules = MountRules::from_file(file.clone());
        assert!(rules.problem().is_some(), "{file:?}");
        assert!(rules.validate(&mount, true, &view).is_err(), "{file:?}");
    }
}

#[test]
fn errors_of_the_mount_file_are_for_people_and_show_the_example() {
    assert_eq!(MountRules::from_file(Ok(Some(EXAMPLE.into()))).problem(), None);
    for (text, words) in [
        ("", "it is empty"),
        ("[", "it is not JSON: line 1, column 1"),
        (r#"["/srv/photos"]"#, r#"the file must be in braces, with "allowedRoots""#),
        ("{}", r#""allowedRoots" must be a list of folders"#),
        (r#"{"allowedRoots":["/srv/photos"]}"#, r#"each of "allowedRoots" must be in braces, with "path""#),
        (r#"{"allowedRoots":[{}]}"#, r#"each of "allowedRoots" needs a "path""#),
        (r#"{"allowedRoots":[{"path":"/a","allowReadWrite":"no"}]}"#, r#""allowReadWrite" must be true or false"#),
        (r#"{"allowedRoots":[{"path":"/a","description":1}]}"#, r#"a "description" must be a text"#),
        (r#"{"allowedRoots":[],"blockedPatterns":"x"}"#, r#""blockedPatterns" must be a list of texts"#),
        (r#"{"allowedRoots":[],"nonMainReadOnly":0}"#, r#""nonMainReadOnly" must be true or false"#),
        (r#"{"allowedRoots":[],"roots":[]}"#, r#"the file has "roots", but knows only"#),
    ] {
        let rules = MountRules::from_file(Ok(Some(text.into())));
        let problem = rules.problem().unwrap();
        assert!(problem.contains(words), "{text}: {problem}");
        assert!(problem.contains(EXAMPLE), "{problem}");
        assert!(!problem.contains("expected") && !problem.contains("struct"), "{problem}");
    }
}
