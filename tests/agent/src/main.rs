//! A scripted agent for Parlor's tests and benchmarks. It is a test double that does what the prompt says,
//! well-behaved or hostile. It takes no arguments and reads no environment variables; everything comes in the prompt.
//!
//! It reads the JSON on stdin and answers each turn at once. A turn's requests are the messages of its prompts that
//! are not marked `context` or `denied`, without a leading `@Name`. A request that begins with `!` is a directive (or
//! several, if further lines begin with `!`). All directives of a turn are carried out in order, each with its own
//! output. If the turn's last request is not a directive, the turn ends with `echo: <that request>`. The last output
//! of a turn has `turn: done` and `consumed`, those before it have `turn: open`. Follow-ups that wait together are
//! one turn; `_close` ends the run with code 0.
//!
//! Replies
//! - `!outputs N [SESSION]`: N outputs `output 1` …, with the session ids `SESSION-1` … (`session` when left out)
//! - `!big BYTES [MS]`: one result of that many `x`, after a pause
//! - `!say TEXT`: that text; `!silent`: a turn that ends without a text (`result: null`)
//! - `!usage IN OUT USD`: the turn reports IN tokens read, OUT tokens written, and this cost
//! - `!time`: `CLOCK_MONOTONIC` in nanoseconds; `!prompt`: the turn's raw prompts; `!stdin`: the JSON as it came
//! - `!secret KEY`: the secret's value, as a leaking agent would
//! - `!session ID`: further outputs carry this session id (default: the given one, else `test-<run id>`)
//! - `!sh COMMAND`: output of `busybox sh -c` (else `sh`), and `exit N` if N is not 0
//! - `!ledger TEXT`: appends the line to `/workspace/group/ledger.txt`, synced, then replies `ledger: TEXT`
//! - `!once DIRECTIVE`: carries it out only the first time (recorded in `/workspace/group/.once`), then `once: over`
//!
//! Time and outputs
//! - `!sleep MS`: works for that time, then replies `slept MS`; `!heartbeat N MS`: N heartbeats, MS apart
//! - `!open TEXT`: an output with `turn: open`, and the turn never ends; inputs are still read
//! - `!chunks SIZE MS TEXT`: the frame of one output in pieces of SIZE bytes, MS apart
//! - `!error KIND [RETRY-AFTER-MS]`: ends the turn with `status: error` (KIND as in `errorKind`, `-` for none)
//! - `!error-resumed KIND`: the same, but only if the run resumed a session; else a reply
//! - `!raw BASE64`: these bytes on stdout and no output (as the last directive: the turn does not end)
//! - `!v1`: further outputs have no additions of Parlor; `!v2`: they have them again
//!
//! Misbehaviour
//! - `!crash CODE [STDERR]`: exits at once; `!exit CODE`: replies, then exits
//! - `!abort`: dies by SIGABRT; `!hang`: ignores everything for ever, even SIGTERM
//! - `!daemon`: starts a child that holds stdout, ignores SIGTERM and outlives the agent; replies its process id
//! - `!ignore-input`: reads neither follow-ups nor `_close` any more
//! - `!stderr SECONDS`, `!stdout SECONDS`: floods that stream with lines
//! - `!flood-outputs N [EVERY]`: N tiny outputs as fast as possible, all `turn: open`; the text of each is its
//!   number, or with EVERY only one in EVERY has a text
//! - `!memory MIB`: allocates and touches that much memory
//!
//! Files
//! - `!task JSON`, `!message JSON`: writes the request with an id and replies the host's result, or `no result`
//! - `!ipc DIR NAME BASE64`: writes that file into `/workspace/ipc/DIR` atomically; `!ipctime …`: replies the time before
//! - `!ipcflood N [DIR]`: N small valid messages; `!link PATH TARGET`, `!fifo PATH`, `!sparse PATH BYTES`: replaces
//!   PATH by a link, a pipe or a sparse file

#![forbid(unsafe_code)]

mod directive;
mod hostile;
mod wire;

use std::io::Read;

use parlor_protocol::inputs::{Inputs, Next};
use parlor_protocol::prompt;
use parlor_protocol::{INPUT_DIR, RunInput};

use directive::Reply;
use wire::Wire;

/// The agent's data, and its present behaviour.
struct Agent {
    wire: Wire,
    stdin: String,
    input: RunInput,
    ignore_input: bool,
}

fn main() {
    let mut inputs = Inputs::open(INPUT_DIR.as_ref());
    let mut stdin = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut stdin) {
        fail(&format!("stdin cannot be read: {error}"));
    }
    let input: RunInput = match serde_json::from_str(&stdin) {
        Ok(input) => input,
        Err(error) => fail(&format!("stdin is not the JSON of a run: {error}")),
    };
    let session =
        input.session_id.clone().unwrap_or_else(|| format!("test-{}", input.run_id.as_deref().unwrap_or("run")));
    let mut agent = Agent { wire: Wire::new(session), stdin, ignore_input: false, input };
    let first = agent.input.prompt.clone();
    agent.turn(&[first], Vec::new());
    loop {
        if agent.ignore_input {
            hostile::sleep_for_ever();
        }
        match inputs.wait() {
            Next::Close => return,
            Next::Inputs(list) => {
                let (names, prompts): (Vec<_>, Vec<_>) = list.into_iter().map(|one| (one.name, one.text)).unzip();
                agent.turn(&prompts, names);
            }
        }
    }
}

impl Agent {
    fn turn(&mut self, prompts: &[String], consumed: Vec<String>) {
        self.wire.begin(consumed);
        let requests: Vec<String> = prompts
            .iter()
            .flat_map(|text| prompt::parse(text))
            .filter(prompt::Message::is_request)
            .map(|message| without_trigger(&message.text).to_owned())
            .collect();
        let mut steps: Vec<Step> = requests
            .iter()
            .filter(|request| request.starts_with('!'))
            .flat_map(|request| directive::split(request))
            .map(Step::Directive)
            .collect();
        if let Some(last) = requests.last().filter(|last| !last.starts_with('!')) {
            steps.push(Step::Echo(last));
        }
        let last = steps.len().saturating_sub(1);
        for (number, step) in steps.iter().enumerate() {
            let reply = match step {
                Step::Directive(line) => directive::run(self, line, prompts),
                Step::Echo(text) => Reply::Text(format!("echo: {text}")),
            };
            if number < last { self.wire.open(&reply) } else { self.wire.end(&reply) }
        }
        if steps.is_empty() {
            self.wire.end(&Reply::Silent);
        }
    }
}

/// A step of a turn.
enum Step<'a> {
    Directive(&'a str),
    Echo(&'a str),
}

fn without_trigger(text: &str) -> &str {
    let text = text.trim_start();
    match text.strip_prefix('@') {
        Some(rest) => rest.split_once(char::is_whitespace).map_or("", |(_, tail)| tail.trim_start()),
        None => text,
    }
}

fn fail(reason: &str) -> ! {
    eprintln!("{reason}");
    std::process::exit(1)
}
