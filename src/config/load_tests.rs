use std::fs;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::super::provider;
use super::super::settings::Limits;
use super::*;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("home")).unwrap();
        fs::create_dir_all(dir.path().join("user")).unwrap();
        Self { dir }
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.dir.path().join("home").join(name), text).unwrap();
        self
    }

    fn load(&self, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let overrides = Overrides { home: Some(self.dir.path().join("home")), ..Overrides::default() };
        self.load_with(&overrides, environment)
    }

    fn examine(&self, environment: &[(&str, &str)]) -> Examined {
        let overrides = Overrides { home: Some(self.dir.path().join("home")), ..Overrides::default() };
        examine_from(&overrides, &self.environment(environment), self.dir.path())
    }

    fn environment(&self, environment: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.entry("HOME".into()).or_insert_with(|| self.dir.path().join("user").display().to_string());
        all
    }

    fn load_with(&self, overrides: &Overrides, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        load_from(overrides, &self.environment(environment), self.dir.path())
    }
}

#[test]
fn default_settings_have_the_documented_values() {
    let place = Place::new();
    let s = place.load(&[("TZ", "Europe/Berlin")]).unwrap();
    assert_eq!(s.assistant_name, "Andy");
    assert_eq!(s.container_timeout, Duration::from_secs(1800));
    assert_eq!(s.idle_timeout, Duration::from_secs(1800));
    assert_eq!(s.max_log_bytes, 10_485_760);
    assert_eq!(s.max_output_bytes, 128 << 20);
    assert_eq!(s.max_attachment_bytes, 25 << 20);
    assert_eq!(s.turn_limit, Duration::from_secs(4 * 3600));
    assert_eq!(s.max_containers, 5);
    assert_eq!(s.limits, Limits { memory: "2g".into(), cpus: "2".into(), pids: 512 });
    assert_eq!(s.provider, "auto");
    assert_eq!(s.image_with, []);
    assert_eq!(s.timezone, chrono_tz::Europe::Berlin);
    assert_eq!(s.secret_keys.len(), 12);
    assert_eq!(s.config_dir, place.dir.path().join("user/.config/parlor"));
    assert!(s.listen.is_none() && s.token.is_none() && s.image.is_none() && s.runtime.is_none());
}

#[test]
fn keep_days_is_at_least_a_week_or_for_ever() {
    let kept = |days| Place::new().load(&[("PARLOR_KEEP_DAYS", days)]).map(|settings| settings.keep_days);
    assert_eq!(Place::new().load(&[]).unwrap().keep_days, Some(90));
    assert_eq!((kept("7").unwrap(), kept("0").unwrap()), (Some(7), None));
    for wrong in ["6", "-1", "36501", "many"] {
        let error = kept(wrong).unwrap_err().to_string();
        assert!(error.contains("PARLOR_KEEP_DAYS") && error.contains("from 7 to 36500, or 0"), "{error}");
    }
}

#[test]
fn settings_precedence_is_command_line_environment_env_file_toml() {
    let place = Place::new()
        .file("parlor.toml", "log_level = 'error'\nassistant_name = 'Toml'\nidle_timeout = 1000\npids = 100\n")
        .file(".env", "LOG_LEVEL=warn\nASSISTANT_NAME=Env\nIDLE_TIMEOUT=2000\nANTHROPIC_API_KEY=secret-secret\n");
    let overrides = Overrides {
        home: Some(place.dir.path().join("home")),
        log_level: Some("trace".into()),
        ..Overrides::default()
    };
    let s = place.load_with(&overrides, &[("LOG_LEVEL", "debug"), ("ASSISTANT_NAME", "Shell")]).unwrap();
    assert_eq!(s.log_level, LogLevel::Trace);
    assert_eq!(s.assistant_name, "Shell");
    assert_eq!(s.idle_timeout, Duration::from_secs(2));
    assert_eq!(s.limits.pids, 100);
    assert!(!format!("{s:?}").contains("secret-secret"));
}

#[test]
fn settings_problems_have_key_value_and_the_allowed_values() {
    let place = Place::new()
        .file(
            "parlor.toml",
            "asistant_name = 'x'\nmax_concurrent_containers = 0\nmemory = { a = 1 }\nlog_level = 'loud'\n",
        )
        .file(".env", "IDLE_TIMEOUT=soon\n\nTZ=Mars/Olympus\n");
    let error = place
        .load(&[
            ("CONTAINER_TIMEOUT", "-5"),
            ("PARLOR_PROVIDER", "oracle"),
            ("CONTAINER_RUNTIME", "lxc"),
            ("CONTAINER_MAX_OUTPUT_SIZE", "99999999999999999999"),
            ("PARLOR_CPUS", "1e9"),
            ("PARLOR_NETWORK", "host"),
            ("PARLOR_IMAGE_WITH", "chromium,firefox"),
            ("AGENT_RUNNER_SRC", "/nowhere/at/all"),
            ("PARLOR_SECRET_KEYS", "A,B C"),
            ("CONTAINER_IMAGE", "--privileged"),
        ])
        .unwrap_err();
    let text = error.to_string();
    for expected in [
        "asistant_name (",
        "is not a setting: is assistant_name meant?",
        "max_concurrent_containers = \"0\"",
        "parlor.toml line 2): a whole number",
        "from 1 to 1000",
        "memory = ",
        "TZ = \"Mars/Olympus\"",
        ".env line 3): an IANA time zone",
        "CONTAINER_TIMEOUT = \"-5\"",
        "log_level = \"loud\"",
        "error, warn, info, debug or trace",
        "PARLOR_PROVIDER = \"oracle\"",
        "guide, exec",
        "CONTAINER_RUNTIME = \"lxc\"",
        "CONTAINER_MAX_OUTPUT_SIZE",
        "PARLOR_CPUS",
        "PARLOR_NETWORK = \"host\"",
        "PARLOR_IMAGE_WITH = \"chromium,firefox\" (environment): a list out of chromium, codex and gemini",
        "AGENT_RUNNER_SRC = \"/nowhere/at/all\"",
        "PARLOR_SECRET_KEYS",
        "CONTAINER_IMAGE = \"--privileged\"",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
}

/// Other programs use these names, too, and their values must not stop a command.
#[test]
fn zone_or_level_of_other_programs_is_only_a_warning() {
    let place = Place::new().file("parlor.toml", "tz = 'Europe/Berlin'\nlog_level = 'warn'\n");
    let s = place.load(&[("TZ", "CET-1CEST"), ("LOG_LEVEL", "verbose"), ("LOG_FORMAT", "pretty")]).unwrap();
    assert_eq!((s.timezone, s.log_level), (chrono_tz::Europe::Berlin, LogLevel::Warn));
    assert_eq!(s.warnings.len(), 3, "{:?}", s.warnings);
    assert!(s.warnings[0].starts_with("TZ = \"CET-1CEST\" (environment) is not understood"), "{:?}", s.warnings);
    // In Parlor's own files such values are refused.
    let place = Place::new().file(".env", "TZ=CET-1CEST\nLOG_LEVEL=verbose\n");
    assert_eq!(place.load(&[]).unwrap_err().problems.len(), 2);
}

#[test]
fn time_zone_may_be_named_by_its_file() {
    let place = Place::new();
    let zone = |tz: &str| {
        let settings = place.load(&[("TZ", tz)]).unwrap();
        assert_eq!(settings.warnings, [""; 0], "{tz}");
        settings.timezone
    };
    for tz in [
        "Europe/Berlin",
        ":Europe/Berlin",
        "/usr/share/zoneinfo/Europe/Berlin",
        ":/usr/share/zoneinfo/Europe/Berlin",
        "/usr/share/zoneinfo/posix/Europe/Berlin",
    ] {
        assert_eq!(zone(tz), chrono_tz::Europe::Berlin, "{tz}");
    }
    let link = place.dir.path().join("zone");
    std::os::unix::fs::symlink("/usr/share/zoneinfo/Asia/Tokyo", &link).unwrap();
    assert_eq!(zone(&format!(":{}", link.display())), chrono_tz::Asia::Tokyo);
    let system = place.load(&[]).unwrap().timezone;
    assert_eq!(place.load(&[("TZ", ":/etc/localtime")]).unwrap().timezone, system);
}

#[test]
fn misspelled_setting_is_reported_with_the_likely_name() {
    let place = Place::new().file(".env", "PARLOR_BUDGT_USD=2\nMAX_CONCURENT_CONTAINERS=7\nparlor_token=x\nMY_OWN=1\n");
    let error = place.load(&[]).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("PARLOR_BUDGT_USD (")
            && text.contains(".env line 1): is not a setting: is PARLOR_BUDGET_USD meant?"),
        "{text}"
    );
    let Examined { settings, .. } = place.examine(&[("PARLOR_MODL", "x"), ("PARLOR_TEST_ENGINES", "docker")]);
    let said = settings.warnings.join("\n");
    for expected in ["is MAX_CONCURRENT_CONTAINERS meant?", "is PARLOR_TOKEN meant?", "PARLOR_MODL (environment)"] {
        assert!(said.contains(expected), "{expected} is missing in\n{said}");
    }
    assert_eq!(settings.warnings.len(), 3, "{said}");
    // A name that is listed as an agent's key is accepted.
    let place = Place::new().file(".env", "PARLOR_SECRET_KEYS=PARLOR_OWN_KEY\nPARLOR_OWN_KEY=x\n");
    assert!(place.load(&[]).is_ok());
}

#[test]
fn boolean_is_refused_for_settings_that_are_no_switch() {
    let text = Place::new().file("parlor.toml", "network = true\n").load(&[]).unwrap_err().to_string();
    assert!(text.contains("network = \"true\"") && text.contains("line 1): is no switch"), "{text}");
    let switches = "listen_public = true\nfallback_dearer = true\ntrigger_anywhere = true\ncpus = 1.5\npids = 0x100\n";
    let settings = Place::new().file("parlor.toml", switches).load(&[]).unwrap();
    assert!(settings.trigger_anywhere && settings.fallback_dearer);
}

#[test]
fn odd_values_give_warnings_without_the_value() {
    let place = Place::new().file(".env", "ASSISTANT_NAME=Mo #1\nANTHROPIC_API_KEY=“sk-secret”\n");
    let s = place.load(&[]).unwrap();
    assert_eq!(s.assistant_name, "Mo");
    let said = s.warnings.join("\n");
    assert!(said.contains("ASSISTANT_NAME (") && said.contains("line 1) ends before ` #`"), "{said}");
    assert!(
        said.contains("ANTHROPIC_API_KEY (") && said.contains("typographic") && !said.contains("sk-secret"),
        "{said}"
    );
    assert_eq!(Place::new().file(".env", "ASSISTANT_NAME=Mo$es\n").load(&[]).unwrap().assistant_name, "Mo$es");
    let utf16: Vec<u8> = "\u{feff}A=1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let place = Place::new();
    fs::write(place.dir.path().join("home/.env"), utf16).unwrap();
    assert!(place.load(&[]).unwrap_err().to_string().contains("is not UTF-8"));
}

#[test]
fn broken_settings_files_are_refused_without_showing_lines() {
    let place = Place::new().file("parlor.toml", "\ntoken = 'hunter2hunter2\n");
    let text = place.load(&[]).unwrap_err().to_string();
    assert!(text.contains("line 2 is not valid TOML"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn listening_needs_a_token_and_the_word_public() {
    let place = Place::new();
    let refused = |env: &[(&str, &str)]| place.load(env).unwrap_err().to_string();
    assert!(refused(&[("PARLOR_LISTEN", "127.0.0.1:1")]).contains("needs PARLOR_TOKEN"));
    let token = ("PARLOR_TOKEN", "0123456789abcdef");
    assert!(refused(&[("PARLOR_LISTEN", "0.0.0.0:1"), token]).contains("PARLOR_LISTEN_PUBLIC=1"));
    assert!(refused(&[("PARLOR_LISTEN", "localhost"), token]).contains("127.0.0.1:7780"));
    let short = refused(&[("PARLOR_LISTEN", "127.0.0.1:1"), ("PARLOR_TOKEN", "tooshort")]);
    assert!(short.contains("16 to 512") && !short.contains("tooshort"), "{short}");
    let s = place.load(&[("PARLOR_LISTEN", "0.0.0.0:1"), token, ("PARLOR_LISTEN_PUBLIC", "1")]).unwrap();
    assert_eq!(s.token.unwrap().expose_secret(), "0123456789abcdef");
    assert!(place.load(&[("PARLOR_LISTEN", "[::1]:1"), token]).is_ok());
}

#[test]
fn home_is_found_by_its_rule() {
    let place = Place::new();
    let nothing = Overrides::default();
    let root = |settings: Settings| settings.home.root().to_owned();
    let base = place.dir.path().canonicalize().unwrap();
    assert_eq!(root(place.load_with(&nothing, &[]).unwrap()), base.join("user/.local/share/parlor"));
    assert_eq!(root(place.load_with(&nothing, &[("PARLOR_HOME", "x/../y")]).unwrap()), base.join("y"));
    fs::create_dir(place.dir.path().join("groups")).unwrap();
    let here = place.load_with(&nothing, &[("PARLOR_CONFIG_DIR", "/etc/parlor")]).unwrap();
    assert_eq!(root(here), base);
    let inside = place.load_with(&nothing, &[]).unwrap_err().to_string();
    assert!(inside.contains("lies inside the installation"), "{inside}");
    let colon = place.load_with(&nothing, &[("PARLOR_HOME", "/a:b")]).unwrap_err().to_string();
    assert!(colon.contains("contains ':'"), "{colon}");
    assert!(place.load_with(&nothing, &[("HOME", ""), ("PARLOR_HOME", "/x")]).is_err(), "no place for the allowlists");
}

#[test]
fn providers_are_known_or_refused() {
    let place = Place::new();
    let s = place.load(&[]).unwrap();
    let group = |provider: Option<&str>, image: Option<&str>| ContainerConfig {
        provider: provider.map(str::to_owned),
        image: image.map(str::to_owned),
        ..ContainerConfig::default()
    };
    let with = |config: ContainerConfig, key, full_image| {
        let keys = if key { vec!["ANTHROPIC_API_KEY"] } else { Vec::new() };
        provider::choose(&s, &config, provider::Means::of(keys, full_image))
    };
    let choose = |config: ContainerConfig, key| with(config, key, false);
    assert_eq!(choose(group(None, None), false).unwrap(), provider::Choice { provider: "guide", note: None });
    let llm = choose(group(None, None), true).unwrap();
    assert!(llm.provider == "llm" && llm.note.unwrap().contains("key in .env"));
    assert_eq!(with(group(None, None), true, true).unwrap(), provider::Choice { provider: "claude", note: None });
    assert_eq!(with(group(None, None), false, true).unwrap().provider, "guide");
    assert_eq!(with(group(None, Some("own:1")), true, true).unwrap().provider, "image");
    assert_eq!(choose(group(Some("claude"), None), false).unwrap().provider, "claude");
    assert_eq!(choose(group(None, Some("own:1")), true).unwrap().provider, "image");
    assert_eq!(choose(group(None, Some("own:1")), false).unwrap().provider, "guide");
    assert_eq!(choose(group(Some("exec"), Some("own:1")), true).unwrap().provider, "exec");
    assert!(choose(group(Some("image"), None), true).unwrap_err().contains("CONTAINER_IMAGE"));
    assert!(choose(group(Some("gpt"), None), true).unwrap_err().contains("guide, exec"));
    assert!(!provider::needs_network("exec") && provider::needs_secrets("image"));
    assert!(provider::needs_network("llm") && provider::needs_secrets("llm"));
    for name in ["codex", "gemini"] {
        assert_eq!(choose(group(Some(name), None), false).unwrap().provider, name);
        assert!(provider::needs_network(name) && provider::needs_full_image(name) && provider::knows_ids(name));
    }
}

#[test]
fn vendor_program_gets_only_its_vendors_keys() {
    let of = |name: &str| -> Vec<&str> {
        secrets::DEFAULT_KEYS.into_iter().filter(|key| provider::may_have(name, key)).collect()
    };
    let claude = ["CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"];
    assert_eq!(of("claude"), claude);
    assert_eq!(of("codex"), ["OPENAI_API_KEY", "OPENAI_BASE_URL", "CODEX_API_KEY"]);
    assert_eq!(of("gemini"), ["GEMINI_API_KEY", "GEMINI_BASE_URL", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"]);
    assert_eq!(of("llm").len(), secrets::DEFAULT_KEYS.len());
    assert!(of("guide").is_empty() && provider::may_have("codex", "MY_KEY"));
    // With a key that only a vendor's program takes, `auto` chooses the guide.
    let s = Place::new().load(&[]).unwrap();
    for (key, counts) in [("CODEX_API_KEY", true), ("GOOGLE_API_KEY", true), ("GOOGLE_GEMINI_BASE_URL", false)] {
        let means = provider::Means::of([key], true);
        let choice = provider::choose(&s, &ContainerConfig::default(), means).unwrap();
        assert_eq!((choice.provider, choice.note.is_some(), means.any()), ("guide", counts, counts), "{key}");
    }
}

#[test]
fn source_checkout_is_no_installation_until_a_host_ran_there() {
    let place = Place::new();
    let here = place.dir.path().canonicalize().unwrap().join("home");
    let found = |overrides: &Overrides| {
        let settings = load_from(overrides, &place.environment(&[]), &here).unwrap();
        (settings.home.root().to_owned(), settings.home_otherwise)
    };
    let by_itself = || found(&Overrides::default());
    let default = place.dir.path().join("user/.local/share/parlor");
    assert_eq!(by_itself(), (default.clone(), None));
    fs::create_dir(here.join("groups")).unwrap();
    assert_eq!(by_itself(), (here.clone(), Some(default.clone())));
    fs::create_dir_all(here.join("container/agent-runner")).unwrap();
    assert_eq!(by_itself().0, here, "a folder of that name alone makes no checkout");
    fs::write(here.join("Cargo.toml"), "").unwrap();
    assert_eq!(by_itself(), (default.clone(), None));
    fs::create_dir(here.join("data")).unwrap();
    fs::write(here.join("data/parlor.db"), "").unwrap();
    assert_eq!(by_itself(), (here.clone(), Some(default)), "what is there is not lost sight of");
    // A folder that was named explicitly is used.
    assert_eq!(found(&Overrides { home: Some(here.clone()), ..Overrides::default() }), (here.clone(), None));
}

#[test]
fn proxies_come_from_the_environment() {
    let place = Place::new();
    assert_eq!(place.load(&[]).unwrap().proxies.names().count(), 0);
    let set = place.load(&[("https_proxy", "http://p:1"), ("NO_PROXY", "lan"), ("HTTP_PROXY", "")]).unwrap();
    assert_eq!(set.proxies.names().collect::<Vec<_>>(), ["NO_PROXY", "https_proxy"]);
}
