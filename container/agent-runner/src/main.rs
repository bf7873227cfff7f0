//! The program in the container: `agent-runner` runs an agent. Under the name `parlor-tool`, or as
//! `agent-runner tool …`, it is the command line of the host tools.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use parlor_agent_runner::{claude, mcp, run, tool};

const USAGE: &str = "agent-runner reads the JSON of a run on stdin; Parlor starts it in the container of a group.
`agent-runner tool …` (or the name parlor-tool) asks the host for things: see `agent-runner tool help`.
`agent-runner mcp` offers the same tools to an MCP client on stdin and stdout.";

fn main() -> ExitCode {
    // A panic aborts, even in a build that unwinds: a half-dead agent would keep its room waiting.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let name = args.next().unwrap_or_default();
    if tool::is_name(&name) {
        return tool::main(&args.collect::<Vec<_>>());
    }
    match args.next().as_deref() {
        None => run::main(),
        Some("mcp") if args.next().is_none() => mcp::main(),
        Some("tool") => tool::main(&args.collect::<Vec<_>>()),
        // Claude Code calls this hook before it compacts a conversation.
        Some("archive") => claude::transcript::main(),
        Some("--version") => {
            println!("agent-runner {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some("--help" | "-h") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("agent-runner has no argument {other:?}, or takes none after it.\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
