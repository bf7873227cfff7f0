//! The tools and requests that `docs/WRITING_AGENTS.md` names.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../../../docs/WRITING_AGENTS.md");

/// A row of the page's table of tools; a row with several names counts as several.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: String,
    pub command: String,
    pub main_only: bool,
    pub args: Vec<Arg>,
}

#[derive(Debug, Clone)]
pub struct Arg {
    pub name: String,
    pub required: bool,
    pub main_only: bool,
}

/// The table of tools, in its order.
pub fn tools() -> Vec<Tool> {
    let (_, table) = PAGE.split_once("| tool | command | takes |\n|---|---|---|\n").expect("the table of tools");
    table.lines().map_while(|line| line.strip_prefix("| ")?.strip_suffix('|')).flat_map(row).collect()
}

fn row(line: &str) -> Vec<Tool> {
    let cells: Vec<&str> = line.split(" |").map(str::trim).collect();
    let (names, commands, takes) = (words(cells[0]), words(cells[1]), cells[2]);
    assert_eq!(names.len(), commands.len(), "{line}");
    let args: Vec<Arg> = takes.split(", ").filter(|item| item.starts_with('`')).map(arg).collect();
    let tool = |(name, command)| Tool { name, command, main_only: cells[0].ends_with("(main)"), args: args.clone() };
    names.into_iter().zip(commands).map(tool).collect()
}

/// An argument begins its item: `name` or `name?`, and “(main)”.
fn arg(item: &str) -> Arg {
    let (name, rest) = item[1..].split_once('`').expect("a name in backquotes");
    let required = !name.ends_with('?');
    Arg { name: name.trim_end_matches('?').to_owned(), required, main_only: rest.starts_with(" (main)") }
}

/// The commands in the page's examples of `parlor-tool`.
pub fn commands() -> Vec<String> {
    let uses = PAGE.lines().filter_map(|line| line.strip_prefix("parlor-tool "));
    // Several commands that take the same stand with bars between them, or as whole commands of one line.
    let names = |line: &'static str| {
        let whole = line.split(" | ").filter_map(|command| command.split_whitespace().next());
        whole.flat_map(|names| names.split('|')).map(str::to_owned).collect::<Vec<_>>()
    };
    uses.flat_map(names).collect()
}

/// The requests in the page's examples, by their folder.
pub fn requests() -> BTreeMap<&'static str, Vec<String>> {
    let (_, block) = PAGE.split_once("```\nmessages/  {").expect("the examples of requests");
    let (block, _) = block.split_once("\n```").expect("their end");
    let (messages, tasks) = block.split_once("\ntasks/  ").expect("those for tasks/");
    [("messages", messages), ("tasks", tasks)].into_iter().map(|(folder, lines)| (folder, types(lines))).collect()
}

fn types(lines: &str) -> Vec<String> {
    let shown = lines.split(r#""type": ""#).skip(1).filter_map(|rest| rest.split('"').next());
    let also = lines.lines().filter_map(|line| line.split_once(" also ")).flat_map(|(_, names)| names.split(", "));
    shown.chain(also).map(str::to_owned).collect()
}

/// Texts between backquotes.
pub fn words(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
