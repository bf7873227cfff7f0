//! The command line for people: help texts with the command's own options first and examples last, and a suggestion
//! for unknown commands.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::examples::EXAMPLES;

/// Global options that only some commands use, with these commands. Other commands accept them, too, because a script
/// may pass them to all.
const SOME: [(&str, &[&str]); 3] = [
    ("log_level", &["up", "chat", "setup", "config", "image", "conformance", "doctor", "import"]),
    ("runtime", &["up", "chat", "setup", "config", "image", "conformance", "doctor"]),
    ("provider", &["up", "chat", "setup", "config", "doctor"]),
];

/// Words that people try, with the real command.
const MEANT: [(&str, &str); 12] = [
    ("start", "up"),
    ("run", "up"),
    ("serve", "up"),
    ("restart", "stop"),
    ("version", "--version"),
    ("ps", "status"),
    ("ls", "groups list"),
    ("list", "groups list"),
    ("history", "messages"),
    ("upgrade", "--version"),
    ("update", "groups update"),
    ("ask", "chat"),
];

/// The whole command line.
pub fn command() -> Command {
    let root = Cli::command();
    let globals: Vec<Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    root.mut_subcommands(|sub| dressed(sub, &[], &globals))
}

/// Prepares a command and its subcommands: adds examples and hides global options without effect.
fn dressed(command: Command, above: &[&str], globals: &[Arg]) -> Command {
    let name = command.get_name().to_owned();
    let path: Vec<&str> = above.iter().copied().chain([name.as_str()]).collect();
    let first = path.first().copied().unwrap_or_default();
    let unused = |arg: &&Arg| SOME.iter().any(|(id, users)| arg.get_id() == *id && !users.contains(&first));
    // A command's own argument of the same id replaces the global one.
    let mut command = command.args(globals.iter().filter(unused).map(|arg| arg.clone().hide(true)));
    let line = path.join(" ");
    if let Some((_, examples)) = EXAMPLES.iter().find(|(of, _)| *of == line) {
        command = command.after_long_help(format!("Examples:\n  {}", examples.join("\n  ")));
    }
    command.mut_subcommands(|sub| dressed(sub, &path, globals))
}

/// Parses the command line of this process. Exits if it is wrong or asks for help.
pub fn parse() -> Cli {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| suggesting(error).exit())
}

/// Adds the likely command to the error for an unknown command.
pub(super) fn suggesting(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        // The advice to write the option after `--` is wrong here.
        error.remove(ContextKind::Suggested);
    }
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(wanted)) = error.get(ContextKind::InvalidSubcommand).cloned() else { return error };
    error.remove(ContextKind::SuggestedSubcommand);
    let names = command();
    let names = names.get_subcommands().map(Command::get_name);
    let meant = meant(&wanted, names);
    if !meant.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(meant));
    }
    error
}

fn meant<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    if let Some((_, meant)) = MEANT.iter().find(|(word, _)| *word == wanted) {
        return vec![(*meant).to_owned()];
    }
    let near = |name: &&str| strsim::damerau_levenshtein(wanted, name) <= (wanted.chars().count() / 3).max(1);
    names.filter(near).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_commands_get_only_likely_suggestions() {
        for (typed, named) in [
            ("stat", None),
            ("statsu", Some("status")),
            ("group", Some("groups")),
            ("taks", Some("tasks")),
            ("version", Some("--version")),
            ("start", Some("up")),
            ("frobnicate", None),
        ] {
            let error = suggesting(command().try_get_matches_from(["parlor", typed]).unwrap_err());
            let said = error.to_string();
            assert_eq!(error.exit_code(), 2);
            match named {
                Some(named) => assert!(said.contains(&format!("'{named}'")), "{typed}: {said}"),
                None => assert!(!said.contains("similar") || typed == "stat", "{typed}: {said}"),
            }
            assert!(!said.contains("setup") && !said.contains("sessions"), "{typed}: {said}");
        }
    }

    #[test]
    fn options_without_effect_are_accepted_but_hidden() {
        let mut all = command();
        all.build();
        let help = |path: &[&str]| {
            let mut command = all.clone();
            for name in path {
                command = command.find_subcommand(name).unwrap().clone();
            }
            command.render_long_help().to_string()
        };
        for (path, shown) in [(&["status"][..], false), (&["groups", "add"], false), (&["up"], true), (&["chat"], true)]
        {
            for option in ["--runtime", "--provider <", "--log-level"] {
                assert_eq!(help(path).contains(option), shown, "{path:?} {option}");
            }
            assert!(help(path).contains("--home"), "{path:?}");
        }
        for args in
            [&["parlor", "status", "--runtime", "podman"][..], &["parlor", "--runtime", "podman", "groups", "list"]]
        {
            let cli = Cli::from_arg_matches(&command().try_get_matches_from(args).unwrap()).unwrap();
            assert_eq!(cli.overrides().runtime.as_deref(), Some("podman"), "{args:?}");
        }
    }

    #[test]
    fn group_provider_option_is_not_the_global_one() {
        let args = ["parlor", "groups", "update", "lab", "--agent-provider", "gpt"];
        let cli = Cli::from_arg_matches(&command().try_get_matches_from(args).unwrap()).unwrap();
        assert_eq!(cli.overrides().provider, None);
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        fn leaves(command: &Command, above: &str, found: &mut Vec<String>) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let path = format!("{above} {}", sub.get_name()).trim().to_owned();
                if sub.has_subcommands() { leaves(sub, &path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        leaves(&command(), "", &mut found);
        for path in &found {
            assert!(EXAMPLES.iter().any(|(of, examples)| of == path && !examples.is_empty()), "{path} has no example");
        }
        for (of, examples) in EXAMPLES {
            assert!(found.iter().any(|path| path == of), "{of} is no command");
            for example in *examples {
                let line = example.split("   ").next().unwrap_or_default();
                let line = line.split([';', '|', '>']).next().unwrap_or_default();
                let words: Vec<String> = line
                    .split('"')
                    .enumerate()
                    .flat_map(|(n, part)| {
                        let words = if n % 2 == 1 { vec![part] } else { part.split_whitespace().collect() };
                        words.into_iter().map(str::to_owned)
                    })
                    .collect();
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok() && line.starts_with(&format!("parlor {of}")), "{example}: {parsed:?}");
            }
        }
    }
}
