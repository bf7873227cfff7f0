use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use secrecy::ExposeSecret;

use super::*;
use crate::config::{Overrides, load_from};
use crate::domain::clock::from_ms;
use crate::domain::group::ContainerConfig;

struct Place {
    dir: tempfile::TempDir,
    home: Home,
    settings: Settings,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("home");
    for skill in ["home/container/skills/one/sub", "home/container/skills/two", "src/nested", "outside"] {
        fs::create_dir_all(dir.path().join(skill)).unwrap();
    }
    for (file, text) in
        [("one/SKILL.md", "one"), ("one/sub/x.sh", "#!/bin/sh"), ("two/SKILL.md", "two"), ("README.md", "not a skill")]
    {
        fs::write(root.join("container/skills").join(file), text).unwrap();
    }
    fs::set_permissions(root.join("container/skills/one/sub/x.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("src/index.ts"), "v1").unwrap();
    fs::write(dir.path().join("src/nested/a.ts"), "a").unwrap();
    fs::write(dir.path().join("outside/precious"), "precious").unwrap();
    let environment = [("HOME".to_owned(), dir.path().join("user").display().to_string())].into();
    let overrides = Overrides { home: Some(root), ..Overrides::default() };
    let settings = load_from(&overrides, &environment, dir.path()).unwrap();
    Place { home: settings.home.clone(), dir, settings }
}

fn group(folder: &str, config: ContainerConfig) -> Group {
    Group {
        folder: folder.parse().unwrap(),
        jid: format!("web:{folder}").parse().unwrap(),
        name: folder.into(),
        trigger: None,
        requires_trigger: true,
        is_main: folder == "main",
        container_config: config,
        created_at: from_ms(0),
        paused: None,
    }
}

impl Place {
    fn prepare(&self) -> AgentPlan {
        self.prepare_group(&group("a", ContainerConfig::default())).unwrap()
    }
    fn prepare_group(&self, group: &Group) -> Result<AgentPlan, AgentError> {
        prepare(&self.home, &self.settings, group, None)
    }
    fn claude(&self, rel: &str) -> PathBuf {
        self.home.session(&"a".parse().unwrap()).join(".claude").join(rel)
    }
    fn source(&self, rel: &str) -> PathBuf {
        self.home.root().join("container/skills").join(rel)
    }
    fn read(&self, rel: &str) -> String {
        fs::read_to_string(self.claude(rel)).unwrap()
    }
    fn outside(&self) -> Vec<String> {
        let dir = self.dir.path().join("outside");
        let mut all: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| format!("{:?}={}", e.file_name(), fs::read_to_string(e.path()).unwrap_or_default()))
            .collect();
        all.sort();
        all
    }
}

#[test]
fn first_run_has_all_folders_and_files() {
    let p = place();
    let plan = p.prepare();
    assert_eq!((plan.provider, plan.needs_network, plan.secrets.len()), ("guide", false, 0));
    assert!(plan.runner_src.is_none());
    assert!(p.home.group(&"a".parse().unwrap()).is_dir());
    assert!(!p.home.global().exists(), "the global folder is made for main");
    let settings: serde_json::Value = serde_json::from_str(&p.read("settings.json")).unwrap();
    assert_eq!(settings["env"]["CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS"], "1");
    assert_eq!(settings["env"]["CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD"], "1");
    assert_eq!(settings["env"]["CLAUDE_CODE_DISABLE_AUTO_MEMORY"], "0");
    assert_eq!(p.read("skills/one/SKILL.md"), "one");
    assert_eq!(fs::metadata(p.claude("skills/one/sub/x.sh")).unwrap().mode() & 0o777, 0o755);
    assert!(!p.claude("skills/README.md").exists(), "only folders are skills");
    assert!(p.home.session(&"a".parse().unwrap()).join("agent/agent.toml").is_file());
    assert!(p.home.data().join("skills/a.json").is_file());
    assert_eq!(fs::metadata(p.home.data()).unwrap().mode() & 0o077, 0, "data is the host's alone");
    p.prepare_group(&group("main", ContainerConfig::default())).unwrap();
    assert!(p.home.global().is_dir());
}

#[test]
fn files_of_the_group_are_written_only_once() {
    let p = place();
    p.prepare();
    fs::write(p.claude("settings.json"), "{}").unwrap();
    let agent = p.home.session(&"a".parse().unwrap()).join("agent/agent.toml");
    fs::write(&agent, "mine").unwrap();
    p.prepare();
    assert_eq!(p.read("settings.json"), "{}");
    assert_eq!(fs::read_to_string(agent).unwrap(), "mine");
}

#[test]
fn skills_are_updated_additions_stay_and_removed_ones_go() {
    let p = place();
    p.prepare();
    fs::write(p.claude("skills/one/SKILL.md"), "eno").unwrap();
    // As well hidden as an edit can be: same size, and the times set back.
    let times = fs::metadata(p.source("one/SKILL.md")).unwrap().modified().unwrap();
    fs::File::open(p.claude("skills/one/SKILL.md")).unwrap().set_modified(times).unwrap();
    fs::write(p.claude("skills/one/own.md"), "added").unwrap();
    fs::create_dir_all(p.claude("skills/mine")).unwrap();
    fs::write(p.claude("skills/mine/SKILL.md"), "mine").unwrap();
    fs::remove_file(p.claude("skills/two/SKILL.md")).unwrap();
    p.prepare();
    assert_eq!(p.read("skills/one/SKILL.md"), "one");
    assert_eq!(p.read("skills/two/SKILL.md"), "two");
    fs::remove_dir_all(p.source("two")).unwrap();
    fs::remove_file(p.source("one/sub/x.sh")).unwrap();
    fs::write(p.source("one/SKILL.md"), "one, better").unwrap();
    p.prepare();
    assert_eq!(p.read("skills/one/SKILL.md"), "one, better");
    assert!(!p.claude("skills/two").exists() && !p.claude("skills/one/sub").exists());
    assert_eq!(p.read("skills/one/own.md"), "added");
    assert_eq!(p.read("skills/mine/SKILL.md"), "mine");
}

#[test]
fn browser_skill_is_only_in_rooms_with_the_browser() {
    let mut p = place();
    fs::create_dir_all(p.source("browser")).unwrap();
    fs::write(p.source("browser/SKILL.md"), "browse").unwrap();
    let group = |image: Option<&str>| {
        let config = ContainerConfig {
            provider: Some("claude".into()),
            image: image.map(str::to_owned),
            ..ContainerConfig::default()
        };
        group("a", config)
    };
    let has = |p: &Place| p.claude("skills/browser/SKILL.md").exists();
    p.prepare_group(&group(None)).unwrap();
    assert!(!has(&p), "the image has none");
    p.settings.image_with = vec![Extra::Chromium];
    p.prepare_group(&group(None)).unwrap();
    assert!(has(&p) && p.claude("skills/one/SKILL.md").exists());
    p.prepare();
    assert!(!has(&p) && !p.claude("skills/browser").exists(), "the guide's image has none");
    p.prepare_group(&group(None)).unwrap();
    assert!(has(&p));
    p.prepare_group(&group(Some("own:1"))).unwrap();
    assert!(!has(&p), "nobody knows what is in another image");
    p.settings.skills_dir = Some(p.source(""));
    p.prepare();
    assert!(has(&p), "the operator's own choice is not Parlor's business");
}

#[test]
fn links_in_a_groups_folders_are_not_followed() {
    let p = place();
    p.prepare();
    let outside = p.dir.path().join("outside");
    let before = p.outside();
    // The skills folder, then a skill, one of its files, and the settings.
    fs::remove_dir_all(p.claude("skills")).unwrap();
    symlink(&outside, p.claude("skills")).unwrap();
    p.prepare();
    assert_eq!(p.outside(), before);
    assert_eq!(p.read("skills/one/SKILL.md"), "one");
    fs::remove_dir_all(p.claude("skills/one")).unwrap();
    symlink(&outside, p.claude("skills/one")).unwrap();
    fs::remove_file(p.claude("skills/two/SKILL.md")).unwrap();
    symlink(outside.join("precious"), p.claude("skills/two/SKILL.md")).unwrap();
    fs::remove_file(p.claude("settings.json")).unwrap();
    symlink(outside.join("made"), p.claude("settings.json")).unwrap();
    p.prepare();
    assert_eq!(p.outside(), before);
    assert!(fs::symlink_metadata(p.claude("skills/two/SKILL.md")).unwrap().is_file());
    // Also if a removed skill was replaced by a link.
    fs::remove_dir_all(p.claude("skills/two")).unwrap();
    symlink(&outside, p.claude("skills/two")).unwrap();
    fs::write(outside.join("SKILL.md"), "not ours").unwrap();
    let before = p.outside();
    fs::remove_dir_all(p.source("two")).unwrap();
    p.prepare();
    assert_eq!(p.outside(), before);
}

#[test]
fn entries_in_the_way_are_moved_aside() {
    let p = place();
    p.prepare();
    fs::remove_dir_all(p.claude("skills/one")).unwrap();
    fs::write(p.claude("skills/one"), "a file").unwrap();
    fs::remove_file(p.claude("skills/two/SKILL.md")).unwrap();
    fs::create_dir_all(p.claude("skills/two/SKILL.md/deep")).unwrap();
    p.prepare();
    assert_eq!(p.read("skills/one/SKILL.md"), "one");
    assert_eq!(p.read("skills/two/SKILL.md"), "two");
}

#[test]
fn unchanged_group_is_prepared_at_once() {
    let p = place();
    p.prepare();
    let ino = |rel: &str| fs::metadata(p.claude(rel)).unwrap().ino();
    let before = ino("skills/one/SKILL.md");
    let mut best = std::time::Duration::MAX;
    for _ in 0..50 {
        let started = std::time::Instant::now();
        p.prepare();
        best = best.min(started.elapsed());
    }
    assert_eq!(ino("skills/one/SKILL.md"), before, "not written again");
    assert!(best < std::time::Duration::from_millis(5), "{best:?}");
}

#[test]
fn agent_sources_are_copied_once() {
    let mut p = place();
    p.settings.agent_runner_src = Some(p.dir.path().join("src"));
    let copy = p.prepare().runner_src.unwrap();
    assert_eq!(fs::read_to_string(copy.join("nested/a.ts")).unwrap(), "a");
    fs::write(copy.join("index.ts"), "the group's").unwrap();
    fs::write(p.dir.path().join("src/index.ts"), "v2").unwrap();
    assert_eq!(p.prepare().runner_src.unwrap(), copy);
    assert_eq!(fs::read_to_string(copy.join("index.ts")).unwrap(), "the group's");
}

#[test]
fn secrets_go_only_to_providers_that_need_them() {
    let p = place();
    fs::write(p.home.env_file(), "ANTHROPIC_API_KEY=sk-ant-0123456789\nOTHER=x\n").unwrap();
    let with = |provider: Option<&str>, image: Option<&str>| {
        let config = ContainerConfig {
            provider: provider.map(str::to_owned),
            image: image.map(str::to_owned),
            ..ContainerConfig::default()
        };
        p.prepare_group(&group("a", config))
    };
    assert!(with(Some("guide"), None).unwrap().secrets.is_empty());
    let llm = with(None, None).unwrap();
    assert_eq!((llm.provider, llm.needs_network, llm.secrets.len()), ("llm", true, 1));
    assert!(with(Some("exec"), Some("own:1")).unwrap().secrets.is_empty());
    let own = with(None, Some("own:1")).unwrap();
    assert_eq!((own.provider, own.needs_network, own.secrets.len()), ("image", true, 1));
    assert_eq!(own.secrets["ANTHROPIC_API_KEY"].expose_secret(), "sk-ant-0123456789");
    assert!(!format!("{own:?}").contains("sk-ant"));
    assert!(with(Some("oracle"), None).unwrap_err().to_string().contains("guide, exec"));
}

#[test]
fn wrong_owners_are_repaired_without_following_links() {
    // Only root may give files to another user.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let p = place();
    p.prepare();
    let owner = Owner { uid: 1000, gid: 1000 };
    let workspace = p.home.group(&"a".parse().unwrap());
    symlink(p.dir.path().join("outside"), workspace.join("link")).unwrap();
    fs::write(workspace.join("file"), "x").unwrap();
    symlink(p.dir.path().join("outside"), p.home.groups().join("linked")).unwrap();
    let done = repair_ownership(&p.home, owner);
    assert!(done.changed >= 6 && done.skipped == 0, "{done:?}");
    let uid = |path: PathBuf| fs::symlink_metadata(path).unwrap().uid();
    assert_eq!(uid(workspace.join("file")), 1000);
    assert_eq!(uid(p.claude("skills/one/SKILL.md")), 1000);
    assert_eq!(uid(p.dir.path().join("outside")), 0);
    assert_eq!(uid(p.dir.path().join("outside/precious")), 0);
    assert_eq!(uid(p.home.session(&"a".parse().unwrap())), 0, "the session folder itself is the host's");
    assert_eq!(repair_ownership(&p.home, owner).changed, 0);
}

/// Writes the settings file of the group, as its agent would.
fn write_settings(p: &Place, text: &str) {
    fs::write(p.home.session(&"a".parse().unwrap()).join("agent/agent.toml"), text).unwrap();
}

#[test]
fn agent_toml_template_sets_nothing_and_has_valid_examples() {
    assert_eq!(AGENT_SETTINGS.parse::<toml::Table>().unwrap(), toml::Table::new());
    let examples: String = AGENT_SETTINGS
        .split("\n\n")
        .skip(1)
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("# "))
        .flat_map(|line| [line, "\n"])
        .collect();
    let table: toml::Table = examples.parse().unwrap();
    let keys: Vec<&str> = table.keys().map(String::as_str).collect();
    assert_eq!(keys, ["env", "hooks", "llm", "mcp", "model", "provider", "system_prompt", "tools"]);
}

#[test]
fn group_chooses_its_provider_only_within_bounds_and_gets_no_keys_before() {
    let mut p = place();
    p.prepare();
    fs::write(p.home.env_file(), "ANTHROPIC_API_KEY=sk-ant-0123456789\nOPENAI_API_KEY=sk-0123456789\n").unwrap();
    p.settings.provider = "guide".into();
    let bound = |p: &mut Place, may: &str, providers: Option<&str>| {
        p.settings.bounds.may = bounds::kinds(may).unwrap();
        p.settings.bounds.providers = providers.map(|names| bounds::providers(names).unwrap());
    };
    write_settings(&p, "provider = 'llm'");
    for (may, providers, why) in [
        ("model", Some("llm"), "agent_may has no"),
        ("provider", None, "not among what the operator allows"),
        ("provider", Some("exec,claude"), "allows (agent_providers): exec, claude"),
    ] {
        bound(&mut p, may, providers);
        let plan = p.prepare();
        assert_eq!((plan.provider, plan.secrets.len()), ("guide", 0), "{may} {providers:?}");
        assert!(plan.may.notes.len() == 1 && plan.may.notes[0].contains(why), "{:?}", plan.may);
    }
    bound(&mut p, "provider", Some("llm,claude,image"));
    let plan = p.prepare();
    assert_eq!((plan.provider, plan.secrets.len(), plan.needs_network), ("llm", 2, true));
    assert!(plan.may.notes.is_empty() && plan.may.set == ["provider"]);
    // A provider without its requirements is not followed: a group that cannot answer could not correct its choice.
    for (name, why) in [("claude", "needs the image full"), ("image", "the host's log says why")] {
        write_settings(&p, &format!("provider = '{name}'"));
        let plan = p.prepare();
        assert_eq!((plan.provider, plan.secrets.len()), ("guide", 0));
        assert!(plan.may.notes[0].contains(why), "{:?}", plan.may);
    }
    write_settings(&p, "provider = 'llm'");
    // The operator's choice for the group wins, and so do the operator's bounds for it.
    for config in [
        ContainerConfig { provider: Some("exec".into()), ..ContainerConfig::default() },
        ContainerConfig { agent_may: Some(Vec::new()), ..ContainerConfig::default() },
    ] {
        let plan = p.prepare_group(&group("a", config.clone())).unwrap();
        assert_eq!(plan.provider, config.provider.as_deref().unwrap_or("guide"));
        assert!(plan.secrets.is_empty() && plan.may.notes.len() == 1, "{:?}", plan.may);
    }
    fs::remove_file(p.home.env_file()).unwrap();
    let plan = p.prepare();
    assert!(plan.provider == "guide" && plan.may.notes[0].contains("needs a key in .env"), "{:?}", plan.may);
}

#[test]
fn hostile_agent_toml_chooses_nothing() {
    let mut p = place();
    p.prepare();
    p.settings.bounds = bounds::Bounds { may: bounds::kinds("provider").unwrap(), providers: None, models: Vec::new() };
    p.settings.provider = "exec".into();
    let file = p.home.session(&"a".parse().unwrap()).join("agent/agent.toml");
    let outside = p.dir.path().join("outside/provider.toml");
    fs::write(&outside, "provider = 'guide'").unwrap();
    let arrange: [(&str, &dyn Fn()); 5] = [
        ("a link", &|| symlink(&outside, &file).unwrap()),
        ("a second name", &|| fs::hard_link(&outside, &file).unwrap()),
        ("a pipe", &|| assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success())),
        ("a folder", &|| fs::create_dir(&file).unwrap()),
        ("a flood", &|| fs::write(&file, format!("provider = 'guide'\n#{}", "x".repeat(40_000))).unwrap()),
    ];
    for (what, arrange) in arrange {
        let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
        arrange();
        let plan = p.prepare();
        assert_eq!(plan.provider, "exec", "{what}");
        assert!(plan.may.notes[0].contains("the host does not read the file"), "{what}: {:?}", plan.may);
    }
    let _ = fs::remove_file(&file);
    let deep = format!("x={}1{}", format!("{{{}a=", "a.".repeat(79)).repeat(80), "}".repeat(80));
    for (text, note) in [
        ("provider = 7", Some("it must be a text")),
        ("provider = \"no\\u001bbody\"", Some("is not known")),
        ("provider = ", None),
        ("[provider]", Some("it must be a text")),
        ("\u{1}", None),
        // As deep as the parser allows: on a worker's stack, it would end the whole host.
        (&deep, None),
    ] {
        fs::write(&file, text).unwrap();
        let plan = p.prepare();
        assert_eq!(plan.provider, "exec");
        assert_eq!(
            plan.may.notes.first().is_some_and(|told| note.is_some_and(|part| told.contains(part))),
            note.is_some(),
            "{text:?}: {:?}",
            plan.may
        );
        assert!(plan.may.notes.iter().all(|told| !told.contains('\u{1b}')), "{:?}", plan.may);
    }
    write_settings(&p, "provider = 'guide'");
    assert_eq!(p.prepare().provider, "guide");
    // If the file would not be followed, its errors are not reported.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    p.settings.bounds = bounds::Bounds::default();
    assert!(p.prepare().may.notes.is_empty());
}
