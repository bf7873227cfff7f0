use std::os::unix::fs::symlink;
use std::sync::OnceLock;

use ulid::Ulid;

use super::*;
use crate::config::proxies::Proxies;
use crate::config::{Overrides, load_from};
use crate::container::mounts::masks::Known;
use crate::domain::clock::from_ms;
use crate::domain::group::{AdditionalMount, ContainerConfig};

static NONE: OnceLock<Masks> = OnceLock::new();

struct Place {
    dir: tempfile::TempDir,
    settings: Settings,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("home");
    for name in ["home/groups/global", "home/groups/a", "home/data", "home/tools/deep", "extra/docs", "user"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    let environment = [
        ("HOME".to_owned(), dir.path().join("user").display().to_string()),
        ("TZ".to_owned(), "Europe/Berlin".to_owned()),
    ]
    .into();
    let overrides = Overrides { home: Some(root), ..Overrides::default() };
    let settings = load_from(&overrides, &environment, dir.path()).unwrap();
    Place { dir, settings }
}

fn group(is_main: bool, config: ContainerConfig) -> Group {
    let folder = if is_main { "main" } else { "a" };
    Group {
        folder: folder.parse().unwrap(),
        jid: format!("web:{folder}").parse().unwrap(),
        name: folder.into(),
        trigger: None,
        requires_trigger: true,
        is_main,
        container_config: config,
        created_at: from_ms(0),
        paused: None,
    }
}

fn rules(root: &Path) -> MountRules {
    let root = root.display();
    MountRules::from_file(Ok(Some(format!(r#"{{"allowedRoots":[{{"path":"{root}","allowReadWrite":true}}]}}"#))))
}

impl Place {
    fn plan(&self, group: &Group) -> MountPlan {
        let root = self.dir.path().canonicalize().unwrap();
        self.try_plan(group, &rules(&root)).unwrap()
    }
    fn try_plan(&self, group: &Group, rules: &MountRules) -> Result<MountPlan, MountError> {
        let masks = Masks::find(&self.settings.home, &mut Known::default()).unwrap_or_default();
        plan(&Room { masks: &masks, ..self.room(group, rules, AgentNeeds::default()) })
    }
    /// Returns `target source mode` per mount, without the temporary folder.
    fn shown(&self, plan: &MountPlan) -> Vec<String> {
        let base = self.dir.path().canonicalize().unwrap();
        let source = |source: &MountSource| match source {
            MountSource::Host(path) => path.strip_prefix(&base).unwrap().display().to_string(),
            MountSource::Tmpfs => "tmpfs".into(),
            MountSource::Null => "null".into(),
        };
        plan.mounts
            .iter()
            .map(|m| format!("{} {} {}", m.target, source(&m.source), if m.writable { "rw" } else { "ro" }))
            .collect()
    }
    fn write(&self, rel: &str, text: &str) {
        fs::write(self.settings.home.root().join(rel), text).unwrap();
    }
    fn room<'a>(&'a self, group: &'a Group, rules: &'a MountRules, agent: AgentNeeds) -> Room<'a> {
        let run = RunId(Ulid::nil());
        Room {
            name: "parlor-a-1".into(),
            run,
            image: group.container_config.image.clone().unwrap_or_else(|| "parlor-agent:lite-1".into()),
            instance: "i1",
            user: User { uid: 1000, gid: 1000, keep_id: false },
            group,
            settings: &self.settings,
            agent,
            rules,
            masks: NONE.get_or_init(Masks::default),
            gateway: "host.docker.internal",
        }
    }
    fn spec(&self, config: ContainerConfig, network: bool) -> Result<RunSpec, MountError> {
        let (group, rules) = (group(false, config), MountRules::from_file(Ok(None)));
        let agent = AgentNeeds { network, runner_src: Some(PathBuf::from("/src/copy")), home_folder: Some(".codex") };
        run_spec(&self.room(&group, &rules, agent))
    }
}

fn extra(host: &Path, to: Option<&str>, readonly: Option<bool>) -> AdditionalMount {
    AdditionalMount { host_path: host.display().to_string(), container_path: to.map(str::to_owned), readonly }
}

#[test]
fn group_sees_only_its_own_folders() {
    let p = place();
    let run = Ulid::nil().to_string();
    assert_eq!(
        p.shown(&p.plan(&group(false, ContainerConfig::default()))),
        [
            "/workspace/group home/groups/a rw".to_owned(),
            "/workspace/global home/groups/global ro".to_owned(),
            "/workspace/ipc home/data/ipc/a rw".to_owned(),
            format!("/workspace/ipc/input home/data/inputs/{run} rw"),
            "/home/node/.claude home/data/sessions/a/.claude rw".to_owned(),
            "/app/agent home/data/sessions/a/agent rw".to_owned(),
        ]
    );
    // Main may have put a link there.
    fs::remove_dir(p.settings.home.global()).unwrap();
    symlink("/etc", p.settings.home.global()).unwrap();
    let shown = p.shown(&p.plan(&group(false, ContainerConfig::default())));
    assert!(!shown.iter().any(|m| m.contains("global")), "{shown:?}");
}

#[test]
fn main_sees_the_installation_without_its_secrets() {
    let p = place();
    for file in
        [".env", ".env.local", "tools/.env.prod", "tools/deep/.env", "groups/a/.env", "groups/.env", "secret.txt"]
    {
        p.write(file, "KEY=x");
    }
    fs::create_dir(p.settings.home.root().join(".envs")).unwrap();
    symlink("../secret.txt", p.settings.home.root().join("tools/.env.link")).unwrap();
    symlink("/nowhere", p.settings.home.root().join(".env.dangling")).unwrap();
    let plan = p.plan(&group(true, ContainerConfig::default()));
    let shown = p.shown(&plan);
    assert_eq!(
        shown[..14],
        [
            "/workspace/group home/groups/main rw",
            "/workspace/global home/groups/global rw",
            "/workspace/project tmpfs ro",
            "/workspace/project/groups home/groups ro",
            "/workspace/project/tools home/tools ro",
            "/workspace/project/.env null ro",
            "/workspace/project/.env.local null ro",
            "/workspace/project/.envs tmpfs ro",
            "/workspace/project/data tmpfs ro",
            "/workspace/project/groups/.env null ro",
            "/workspace/project/groups/a tmpfs ro",
            "/workspace/project/secret.txt null ro",
            "/workspace/project/tools/.env.prod null ro",
            "/workspace/project/tools/deep/.env null ro",
        ]
    );
    assert!(!shown.iter().any(|m| m.contains("toml")));
    p.write("parlor.toml", "tz = 'UTC'");
    let shown = p.shown(&p.plan(&group(true, ContainerConfig::default())));
    let seen: Vec<_> = shown.iter().filter(|m| m.contains("toml")).collect();
    assert_eq!(seen, ["/workspace/project/parlor.toml null ro"]);
    assert!(Masks::find(&p.settings.home, &mut Known::default()).unwrap().to_string().contains(", parlor.toml"));
}

#[test]
fn extra_mounts_pass_the_rules_and_never_show_the_installation() {
    let p = place();
    let base = p.dir.path().canonicalize().unwrap();
    fs::create_dir_all(p.settings.config_dir.clone()).unwrap();
    let config = ContainerConfig {
        additional_mounts: vec![
            extra(&base.join("extra/docs"), Some("z/inner"), Some(false)),
            extra(&base.join("extra"), Some("z"), None),
            extra(&base.join("extra"), Some("z"), None),
            extra(&base.join("home/groups/main"), None, None),
            extra(&base.join("home/data"), None, None),
            extra(&base.join("home"), None, None),
            extra(&p.settings.config_dir, None, None),
            extra(&base.join("none"), None, None),
        ],
        ..ContainerConfig::default()
    };
    let plan = p.plan(&group(true, config.clone()));
    let shown = p.shown(&plan);
    assert_eq!(
        shown[shown.len() - 2..],
        ["/workspace/extra/z extra ro", "/workspace/extra/z/inner extra/docs rw"],
        "parents first"
    );
    assert_eq!(plan.notes.len(), 6, "{:#?}", plan.notes);
    assert!(plan.notes[0].contains("is taken"));
    let none = MountRules::from_file(Ok(None));
    let refused = p.try_plan(&group(false, config), &none).unwrap();
    assert!(!p.shown(&refused).iter().any(|m| m.contains("extra")));
    assert_eq!(refused.notes.len(), 8);
}

#[test]
fn mount_paths_that_engines_would_split_are_refused() {
    let mut p = place();
    p.settings.home = Home::new(PathBuf::from("/srv/a,b"));
    let error = p.try_plan(&group(false, ContainerConfig::default()), &MountRules::from_file(Ok(None))).unwrap_err();
    assert!(error.to_string().contains("','"), "{error}");
}

#[test]
fn a_spec_has_names_limits_and_nothing_secret() {
    let p = place();
    let spec = p.spec(ContainerConfig::default(), false).unwrap();
    assert_eq!(spec.name, "parlor-a-1");
    assert!(spec.mounts.iter().any(|m| m.target == "/app/src" && m.writable));
    assert_eq!(spec.image, "parlor-agent:lite-1");
    let labels: Vec<_> = spec.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let run = Ulid::nil().to_string();
    assert_eq!(labels, ["parlor.group=a", "parlor.instance=i1", "parlor.kind=run", &format!("parlor.run={run}")]);
    let env: Vec<_> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["HOME=/home/node", "TZ=Europe/Berlin"]);
    assert_eq!(spec.network, Network::None);
    assert_eq!((spec.memory.as_deref(), spec.cpus.as_deref(), spec.pids), (Some("2g"), Some("2"), Some(512)));
    assert_eq!(p.spec(ContainerConfig::default(), true).unwrap().network, Network::Default);
}

#[test]
fn settings_of_a_group_win_and_are_checked() {
    let p = place();
    let own = ContainerConfig {
        image: Some("own/agent:2".into()),
        network: Some("lan".into()),
        memory: Some("512M".into()),
        cpus: Some("0.5".into()),
        pids: Some(64),
        env: [("A".to_owned(), "1".to_owned()), ("HOME".to_owned(), "/".to_owned())].into(),
        ..ContainerConfig::default()
    };
    let spec = p.spec(own, false).unwrap();
    assert_eq!(spec.image, "own/agent:2");
    assert_eq!(spec.network, Network::Named("lan".into()));
    assert_eq!((spec.memory.as_deref(), spec.cpus.as_deref(), spec.pids), (Some("512m"), Some("0.5"), Some(64)));
    assert_eq!((spec.env["A"].as_str(), spec.env["HOME"].as_str()), ("1", "/home/node"));
    let base = ContainerConfig::default;
    let env = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    for (bad, key) in [
        (ContainerConfig { memory: Some("lots".into()), ..base() }, "memory"),
        (ContainerConfig { cpus: Some("-1".into()), ..base() }, "cpus"),
        (ContainerConfig { pids: Some(0), ..base() }, "pids"),
        (ContainerConfig { network: Some("host".into()), ..base() }, "network"),
        (ContainerConfig { network: Some("container:x".into()), ..base() }, "network"),
        (ContainerConfig { image: Some("--privileged".into()), ..base() }, "image"),
        (ContainerConfig { env: env("A B", "x"), ..base() }, "env"),
        (ContainerConfig { env: env("A", "x\0"), ..base() }, "env"),
        (ContainerConfig { env: env("ANTHROPIC_API_KEY", "sk"), ..base() }, "env"),
    ] {
        let error = p.spec(bad, false).unwrap_err().to_string();
        assert!(error.contains(&format!("setting {key} of group a")), "{error}");
    }
}

#[test]
fn only_rooms_with_a_network_get_the_proxies() {
    let mut p = place();
    let set = |pairs: &[(&str, &str)]| {
        Proxies::of(&pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
    };
    p.settings.proxies = set(&[("HTTPS_PROXY", "http://proxy.lan:3128"), ("NO_PROXY", ".lan")]);
    let without = p.spec(ContainerConfig::default(), false).unwrap();
    assert!(!without.env.contains_key("HTTPS_PROXY") && !without.env.contains_key("NO_PROXY"));
    let with = p.spec(ContainerConfig::default(), true).unwrap();
    assert_eq!(with.env["HTTPS_PROXY"], "http://proxy.lan:3128");
    assert!(with.env["NO_PROXY"].starts_with(".lan,"), "{:?}", with.env);
    assert_eq!(with.gateway, None);
    // A group's own variable counts, in upper or lower case.
    let own =
        ContainerConfig { env: [("https_proxy".to_owned(), "http://own:1".to_owned())].into(), ..Default::default() };
    let env = p.spec(own, true).unwrap().env;
    assert!(env["https_proxy"] == "http://own:1" && !env.contains_key("HTTPS_PROXY"), "{env:?}");
    // A proxy on this machine is reached by the name that the room has for the machine.
    p.settings.proxies = set(&[("https_proxy", "http://127.0.0.1:8080")]);
    let local = p.spec(ContainerConfig::default(), true).unwrap();
    assert_eq!(local.env["https_proxy"], "http://host.docker.internal:8080");
    assert_eq!(local.gateway.as_deref(), Some("host.docker.internal"));
}
