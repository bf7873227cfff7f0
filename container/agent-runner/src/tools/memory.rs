//! The tool for a group's memory. The host has no part in it.

use super::parts::arg;
use super::{Arg, Call, Done, Form, Kind, Outcome, Tool, Trouble};
use crate::memory;

/// Characters of one thing to remember.
const MAX_FACT: usize = 4_000;

pub(super) static TOOLS: &[Tool] = &[REMEMBER];

const REMEMBER: Tool = Tool {
    name: "remember",
    command: "remember",
    about: "Adds a line to the memory, which is the file CLAUDE.md that every later conversation begins with.",
    main_only: false,
    reads: false,
    args: &[
        arg(
            "text",
            true,
            Form::Rest("TEXT"),
            "One fact in one line; line breaks become spaces. Up to 4,000 characters.",
        ),
        Arg {
            name: "scope",
            kind: Kind::OneOf(&["group", "global"]),
            required: false,
            main_only: true,
            about: "group: this group's memory, the default. global: the memory of all groups, which only the main \
                    group can write.",
            form: Form::Option("scope", "group|global"),
        },
    ],
    run: remember,
};

fn remember(call: &Call<'_>) -> Outcome {
    let text = call.need("text")?;
    if text.chars().count() > MAX_FACT {
        return Err(Trouble::Failed(format!(
            "the text is longer than {MAX_FACT} characters: keep it in a file, and remember where"
        )));
    }
    let folders = &call.context.folders;
    let (folder, whose) = match call.text("scope").as_deref() {
        Some("global") if !call.context.is_main => {
            return Err(Trouble::Failed("only the main group can write the memory of all groups".to_owned()));
        }
        Some("global") => (&folders.global, "the memory of all groups"),
        _ => (&folders.group, "this group's memory"),
    };
    match memory::append(folder, &text) {
        Ok(()) => Ok(Done::say(format!("Done: it is in {whose}, {} now.", memory::FILE))),
        Err(error) => Err(Trouble::Failed(format!("{}/{} cannot be written: {error}", folder.display(), memory::FILE))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_short;
    use super::*;

    #[test]
    fn the_row_tells_the_limit() {
        let limit = format!("Up to {},{:03} characters.", MAX_FACT / 1_000, MAX_FACT % 1_000);
        assert!(REMEMBER.args[0].about.ends_with(&limit), "{limit}");
    }

    #[test]
    fn each_group_is_offered_its_tools() {
        let main = ["remember(scope text!)"];
        assert_eq!(in_short(TOOLS, true), main);
        let plain = ["remember(text!)"];
        assert_eq!(in_short(TOOLS, false), plain);
    }
}
