//! Compares the documents with the program: everything they name exists, and everything that exists is named.

use clap::error::ErrorKind as Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use parlor::cli::Cli;
use parlor::config::{self, Overrides};

const DOCUMENTS: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "docs/API.md",
    "docs/GUIDE.md",
    "docs/OPERATING.md",
    "docs/PROVIDERS.md",
    "docs/SETTINGS.md",
    "docs/WRITING_AGENTS.md",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Returns texts between single backquotes, and lines of code blocks.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            block = !block;
        } else if block {
            found.push(line.to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Splits a line into words as a shell does; supports only double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('"').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn commands_that_documents_show_are_understood() {
    let mut shown = 0;
    for document in DOCUMENTS {
        for line in code(&read(document)) {
            let line = line.strip_prefix("$ ").unwrap_or(&line);
            let line = line.split("   ").next().unwrap_or_default();
            let args = words(line);
            if args.first().is_none_or(|word| word != "parlor") || args.iter().any(|word| word.contains('…')) {
                continue;
            }
            shown += 1;
            let Err(error) = Cli::command().try_get_matches_from(&args) else { continue };
            // A command may be named without its arguments.
            let named = [
                Kind::DisplayHelp,
                Kind::DisplayHelpOnMissingArgumentOrSubcommand,
                Kind::MissingSubcommand,
                Kind::MissingRequiredArgument,
            ];
            assert!(named.contains(&error.kind()), "{document}: {line}\n{error}");
        }
    }
    assert!(shown > 30, "only {shown} commands were found");
}

#[test]
fn the_readme_names_every_command() {
    let readme = read("README.md");
    for command in Cli::command().get_subcommands() {
        assert!(readme.contains(&format!("| `parlor {}` |", command.get_name())), "{}", command.get_name());
    }
}

#[test]
fn documented_settings_exist_with_their_defaults_and_are_complete() {
    let settings = read("docs/SETTINGS.md");
    let mut table = BTreeMap::new();
    for line in settings.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        if let [_, env, toml, default, _, _] = cells[..] {
            table.insert(env.to_owned(), (toml.to_owned(), default.to_owned()));
        }
    }
    let documented: BTreeSet<(&str, &str)> =
        table.iter().map(|(env, (toml, _))| (env.as_str(), toml.as_str())).collect();
    assert_eq!(documented, config::names().collect());

    let environment = BTreeMap::from([("HOME".to_owned(), "/nonexistent/user".to_owned())]);
    let overrides = Overrides { home: Some("/nonexistent/home".into()), ..Overrides::default() };
    let s = config::load_from(&overrides, &environment, Path::new("/")).unwrap();
    let ms = |duration: std::time::Duration| duration.as_millis().to_string();
    for (name, default) in [
        ("ASSISTANT_NAME", s.assistant_name),
        ("PARLOR_PROVIDER", s.provider),
        ("PARLOR_IMAGE_BASE", s.image_base),
        ("PARLOR_CLAUDE_VERSION", s.claude_version),
        ("PARLOR_CODEX_VERSION", s.codex_version),
        ("PARLOR_GEMINI_VERSION", s.gemini_version),
        ("MAX_CONCURRENT_CONTAINERS", s.max_containers.to_string()),
        ("CONTAINER_TIMEOUT", ms(s.container_timeout)),
        ("IDLE_TIMEOUT", ms(s.idle_timeout)),
        ("PARLOR_TURN_LIMIT", ms(s.turn_limit)),
        ("PARLOR_SHUTDOWN_GRACE", ms(s.shutdown_grace)),
        ("CONTAINER_MAX_OUTPUT_SIZE", s.max_log_bytes.to_string()),
        ("PARLOR_MAX_RESULT_SIZE", s.max_output_bytes.to_string()),
        ("PARLOR_MAX_FILE_SIZE", s.max_file_bytes.to_string()),
        ("PARLOR_MAX_ATTACHMENT_BYTES", s.max_attachment_bytes.to_string()),
        ("PARLOR_MEMORY", s.limits.memory),
        ("PARLOR_CPUS", s.limits.cpus),
        ("PARLOR_PIDS", s.limits.pids.to_string()),
        ("LOG_LEVEL", s.log_level.as_str().to_owned()),
        ("PARLOR_AGENT_MAY", s.bounds.may.join(",")),
    ] {
        assert_eq!(table[name].1, default, "{name}");
    }
    assert!(s.image.is_none() && s.runtime.is_none() && s.listen.is_none() && s.token.is_none() && s.network.is_none());
    assert!(s.image_with.is_empty() && table["PARLOR_IMAGE_WITH"].1 == "none");
}

#[test]
fn documented_codes_of_the_api_exist_and_are_complete() {
    let text = read("docs/API.md");
    let (_, table) = text.split_once("| status | codes |").unwrap();
    let documented: BTreeSet<String> = code(table).into_iter().filter(|word| !word.contains(['/', '-'])).collect();
    let mut used = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap().replace('\\', "");
        // A code follows a status, is in a call that makes a problem, or is in a constant one.
        for start in ["StatusCode::", "Problem::bad(", "Self::bad(", "unavailable(", "\"code\":"] {
            for part in source.split(start).skip(1) {
                let part: String = part.chars().take(60).filter(|c| !c.is_whitespace()).collect();
                let rest = part.trim_start_matches(|c: char| c.is_ascii_uppercase() || c == '_' || c == ',');
                if let Some(rest) = rest.strip_prefix('"')
                    && let Some((code, _)) = rest.split_once('"')
                    && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                {
                    used.insert(code.to_owned());
                }
            }
        }
    }
    assert_eq!(documented, used);
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS.iter().copied().chain(["CHANGELOG.md"]) {
        let text = read(document);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        for link in text.split("](").skip(1).filter_map(|part| part.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.contains("://") && !target.is_empty() {
                assert!(folder.parent().unwrap().join(target).exists(), "{document}: {link}");
            }
        }
    }
}
