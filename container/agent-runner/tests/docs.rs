//! Holds `docs/WRITING_AGENTS.md` against the tools and the protocol: each of them is there, and nothing else is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;

use parlor_agent_runner::tools;
use parlor_protocol::{MessageFile, TaskFile};
use serde::de::DeserializeOwned;
use support::page;

#[test]
fn the_page_has_every_tool_with_its_arguments_and_no_other() {
    let shown: Vec<String> = page::tools()
        .iter()
        .map(|tool| {
            let arg = |arg: &page::Arg| format!("{} required={} main={}", arg.name, arg.required, arg.main_only);
            let args: BTreeSet<String> = tool.args.iter().map(arg).collect();
            format!("{} {} main={} {args:?}", tool.name, tool.command, tool.main_only)
        })
        .collect();
    let real: Vec<String> = tools::all()
        .map(|tool| {
            let arg = |arg: &tools::Arg| format!("{} required={} main={}", arg.name, arg.required, arg.main_only);
            let args: BTreeSet<String> = tool.args.iter().map(arg).collect();
            format!("{} {} main={} {args:?}", tool.name, tool.command, tool.main_only)
        })
        .collect();
    assert_eq!(shown, real);
}

#[test]
fn the_page_shows_every_command_of_parlor_tool_and_no_other() {
    let shown: BTreeSet<String> = page::commands().into_iter().collect();
    let real: BTreeSet<String> = tools::all().map(|tool| tool.command.to_owned()).collect();
    assert_eq!(shown, real);
}

#[test]
fn the_page_shows_every_request_of_the_protocol_and_no_other() {
    let shown = page::requests();
    for (folder, real) in [("messages", types::<MessageFile>()), ("tasks", types::<TaskFile>())] {
        let shown: BTreeSet<String> = shown[folder].iter().cloned().collect();
        assert_eq!(shown, real, "{folder}");
    }
}

/// The names that the field `type` may have: serde lists them when it does not know one.
fn types<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_str::<T>(r#"{"type": ""}"#) else { panic!("a request without a type") };
    let names: BTreeSet<String> = page::words(&error.to_string()).into_iter().filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 1, "{error}");
    names
}
