//! `parlor completions` and `parlor man`: generated from the command line, so that they always agree with it.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::output::write;
use super::{Done, Failure, command};

/// Print what lets a shell complete commands and options
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Done {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "parlor", &mut script);
        write(&script)
    }
}

/// Print the manual page, or write the pages of all commands into a folder
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder, such as ~/.local/share/man/man1
    folder: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self) -> Done {
        let Some(folder) = &self.folder else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page)?;
            return write(&page);
        };
        let write = || {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command(), folder)
        };
        write().map_err(|error: std::io::Error| {
            Failure::Failed(format!("cannot write the manual pages into {}: {error}", folder.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_man_page_and_a_completion() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Man { folder: Some(dir.path().join("man1")) }.run().is_ok());
        let page = std::fs::read_to_string(dir.path().join("man1/parlor-groups-add.1")).unwrap();
        assert!(page.contains("agent\\-provider") && page.contains("Examples:"), "{page}");
        for sub in command().get_subcommands() {
            assert!(dir.path().join(format!("man1/parlor-{}.1", sub.get_name())).exists(), "{}", sub.get_name());
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "parlor", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["set-main", "conformance", "available"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
