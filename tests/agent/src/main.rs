//! A scripted agent for Parlor's tests and benchmarks: a test double that does what the prompt says, well-behaved
//! or hostile. It takes no arguments and reads no environment; everything comes through the prompt.
//!
//! It reads the JSON on stdin and answers each turn at once. A turn's requests are the messages of its prompts that
//! are not marked `context` or `denied`, without a leading `@Name`. A request that begins with `!` is a directive
//! (several when further lines begin with `!` too); all directives of a turn are carried out in order, each with its
//! own output. When the turn's last request is not a directive, the turn ends with `echo: <that request>`. The last
//! output of a turn carries `turn: done` and `consumed`, those before it `turn: open`. Follow-ups that wait together
//! are one turn; `_close` ends the run with code 0.
//!
//! Replies
//! - `!outputs N [SESSION]`: N outputs `output 1` …, with the session ids `SESSION-1` … (`session` when left out)
//! - `!big BYTES [MS]`: one result of that many `x`, after a pause
//! - `!say TEXT`: that text; `!silent`: a turn that ends without a text (`result: null`)
//! - `!usage IN OUT USD`: the turn reports so many tokens in and out, and that cost
//! - `!time`: `CLOCK_MONOTONIC` in nanoseconds; `!prompt`: the turn's raw prompts; `!stdin`: the JSON as it came
//! - `!secret KEY`: the secret's value, as a leaking agent would
//! - `!session ID`: from here on outputs carry this session id (default: the given one, else `test-<run id>`)
//! - `!sh COMMAND`: output of `busybox sh -c` (else `sh`), and `exit N` when N is not 0
//! - `!ledger TEXT`: appends the line to `/workspace/group/ledger.txt`, synced, then replies `ledger: TEXT`
//! - `!once DIRECTIVE`: carries it out the first time only (remembered in `/workspace/group/.once`), then `once: over`
//!
//! Time and outputs
//! - `!sleep MS`: works that long, then replies `slept MS`; `!heartbeat N MS`: N heartbeats, MS apart
//! - `!open TEXT`: an output with `turn: open`, and the turn never ends; inputs are still read
//! - `!chunks SIZE MS TEXT`: the frame of one output in pieces of SIZE bytes, MS apart
//! - `!error KIND [RETRY-AFTER-MS]`: ends the turn with `status: error` (KIND as in `errorKind`, `-` for none)
//! - `!error-resumed KIND`: the same, but only when the run resumed a session; else a reply
//! - `!raw BASE64`: these bytes on stdout and no output (as the last directive: the turn does not end)
//! - `!v1`: from now on no output carries Parlor's additions; `!v2`: again with them
//!
//! Misbehaviour
//! - `!crash CODE [STDERR]`: exits at once; `!exit CODE`: replies, then exits
//! - `!abort`: dies by SIGABRT; `!hang`: ignores everything, SIGTERM too, for ever
//! - `!daemon`: a child that holds stdout and ignores SIGTERM outlives the agent; replies its process id
//! - `!ignore-input`: neither follow-ups nor `_close` are read any more
//! - `!stderr SECONDS`, `!stdout SECONDS`: floods that stream with lines
//! - `!flood-outputs N [EVERY]`: N tiny outputs as fast as possible, all `turn: open`; each is its number, or
//!   one in EVERY is and the others have no text
//! - `!memory MIB`: takes and touches that much memory
//!
//! Files
//! - `!task JSON`, `!message JSON`: drops the request with an id and replies the host's result, or `no result`
//! - `!ipc DIR NAME BASE64`: drops that file into `/workspace/ipc/DIR` atomically; `!ipctime …`: replies the time before
//! - `!ipcflood N [DIR]`: N small valid messages; `!link PATH TARGET`, `!fifo PATH`, `!sparse PATH BYTES`: replaces
//!   PATH by such a thing

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

/// What the agent knows and how it behaves at the moment.
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

/// One thing a turn does.
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
