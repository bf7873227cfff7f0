//! The meaning of a vendor's refusal, and its consequences: one table for all providers.
//!
//! The status decides first. Words only distinguish the cases of one status, so that no vendor's wording turns a
//! permanent refusal into a temporary one. Of all 4xx statuses, only 408 and 429 are temporary.

use parlor_protocol::ErrorKind;
use serde_json::Value;

/// A vendor's refusal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusal<'a> {
    /// The HTTP status; 0 if there was none, because an answer that had begun failed.
    pub status: u16,
    /// The kind of error, in the vendor's or its program's words: `rate_limit_error`, `RESOURCE_EXHAUSTED`, …
    pub code: &'a str,
    /// The message for people.
    pub said: &'a str,
    /// True if the vendor says when to try again.
    pub waits: bool,
}

/// The meaning of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The key is missing, wrong, or not permitted to do this.
    Auth,
    /// The account's credit or quota is used up.
    Quota,
    /// Too many requests; it passes.
    RateLimit,
    /// The vendor is overloaded, or has an internal error; it passes.
    Busy,
    /// The conversation has more tokens than the model takes.
    TooLong,
    /// The request has more bytes than the server takes.
    TooLarge,
    /// The model cannot call tools.
    NoTools,
    /// The model accepts no pictures, or not these.
    NoPictures,
    /// The server has no such model.
    NoModel,
    /// The server has too little memory for the model.
    NoMemory,
    /// A content filter blocked the conversation.
    Filtered,
    /// The answer exceeded its limit.
    Cut,
    /// The request has a fault that a new conversation may not have.
    Conversation,
    /// The same request would be refused again.
    ForGood,
    /// The vendor's server cannot be reached.
    Unreachable,
    /// The meaning is unknown: it may pass.
    Unknown,
}

impl Meaning {
    /// Returns the kind of error for the host, after the provider's own remedies have failed.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Auth => ErrorKind::Auth,
            Self::Quota => ErrorKind::Quota,
            Self::RateLimit => ErrorKind::RateLimit,
            Self::Busy => ErrorKind::Overloaded,
            // The cause is in the conversation, and so not in a new one.
            Self::TooLong | Self::TooLarge | Self::NoPictures | Self::Filtered | Self::Conversation => {
                ErrorKind::SessionRefused
            }
            Self::NoTools | Self::NoModel | Self::NoMemory | Self::Cut | Self::ForGood => ErrorKind::Refused,
            Self::Unreachable => ErrorKind::Unreachable,
            Self::Unknown => ErrorKind::Other,
        }
    }

    /// Returns the remedy as sentences that begin with a space; empty if the host adds it or none is known.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoModel => {
                " Is the model's name right? It is set with `parlor groups update FOLDER --model NAME`, with model in agent.toml, \
                 or for provider llm with PARLOR_MODEL."
            }
            Self::NoTools => " Choose a model that can call tools: `parlor groups update FOLDER --model NAME`.",
            Self::NoPictures => " Choose a model that sees pictures, or write without one.",
            Self::NoMemory => {
                " Choose a smaller model, or for provider llm a smaller context_tokens in agent.toml, or give the server more \
                 memory."
            }
            Self::TooLong | Self::TooLarge => " `/new` begins a new conversation.",
            Self::Filtered => " A content filter holds this back: say it in other words, or begin anew with `/new`.",
            Self::Cut => {
                " The answer is longer than the model may answer at once (max_tokens, or CLAUDE_CODE_MAX_OUTPUT_TOKENS of Claude \
                 Code): ask for it in parts."
            }
            Self::Auth
            | Self::Quota
            | Self::RateLimit
            | Self::Busy
            | Self::Conversation
            | Self::ForGood
            | Self::Unreachable
            | Self::Unknown => "",
        }
    }
}

/// Joins a reason and its remedy.
pub fn with_remedy(reason: &str, meaning: Meaning) -> String {
    let (reason, remedy) = (reason.trim_end(), meaning.remedy());
    let stop = if remedy.is_empty() || reason.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{reason}{stop}{remedy}")
}

/// The statuses of a row.
#[derive(Debug, Clone, Copy)]
enum Status {
    /// Exactly this status.
    Is(u16),
    /// From the first to the second status.
    From(u16, u16),
    /// Any status, or none.
    Any,
}

/// A row of the table. It matches if the status fits and, if the row has signs, one of them is found.
struct Row {
    status: Status,
    /// Parts of codes, in small letters and digits only.
    codes: &'static [&'static str],
    /// Parts of messages, in small letters.
    words: &'static [&'static str],
    means: Meaning,
}

const fn all(status: Status, means: Meaning) -> Row {
    Row { status, codes: &[], words: &[], means }
}

const fn some(status: Status, (codes, words): Signs, means: Meaning) -> Row {
    Row { status, codes, words, means }
}

type Signs = (&'static [&'static str], &'static [&'static str]);

const KEY: Signs = (
    &["authentication", "permission", "unauthorized", "invalidapikey", "apikeyinvalid", "oauthorgnotallowed"],
    &[
        "api key not valid",
        "api key expired",
        "api key is missing",
        "invalid api key",
        "incorrect api key",
        "invalid x-api-key",
        "authentication required",
        "please run /login",
    ],
);
const CREDIT: Signs = (
    &["insufficientquota", "billing", "usagelimit", "spendinglimit", "quotaexceeded"],
    &[
        "credit balance",
        "billing",
        "exceeded your current quota",
        "insufficient credits",
        "insufficient balance",
        "spending limit",
        "daily quota",
        "limit: 0",
    ],
);
/// A daily limit stays one, even if the vendor says when to try again.
const DAY: Signs = (&["insufficientquota"], &["daily quota", "limit: 0"]);
const LONG: Signs = (
    &["contextlengthexceeded", "contextwindowexceeded", "exceedcontextsize"],
    &[
        "prompt is too long",
        "maximum context length",
        "context window",
        "context length",
        "context size",
        "input token count",
        "too many tokens",
        "input is too long",
        "maximum number of tokens allowed",
    ],
);
const TOOLS: Signs = (
    &[],
    &[
        "not support tool",
        "not support function",
        "support tool use",
        "tools are not supported",
        "tool use is not supported",
        "tool calling is not",
        "function calling is not",
        "tool choice requires",
        "unsupported parameter: 'tools'",
        "unrecognized request argument supplied: tools",
    ],
);
const PICTURES: Signs = (&[], &["image", "vision", "multimodal", "mmproj", "base64"]);
const MODEL: Signs = (
    &["modelnotfound", "modelnotsupported", "unknownmodel", "invalidmodel"],
    &[
        "model not found",
        "try pulling it first",
        "is not found for api version",
        "not supported for generatecontent",
        "not a valid model",
        "invalid model",
        "unknown model",
        "no such model",
        "does not have access to model",
        "the requested model",
    ],
);
const MEMORY: Signs = (&[], &["more system memory", "out of memory", "not enough memory", "insufficient memory"]);
const FILTER: Signs = (
    &["contentfilter", "contentpolicy", "policyviolation", "cyberpolicy", "safety", "prohibitedcontent"],
    &[
        "content management policy",
        "content filtering",
        "content policy",
        "usage polic",
        "safety system",
        "safety polic",
        "reason: content_filter",
    ],
);
const CUT: Signs = (&["maxoutputtokens"], &["output token maximum", "reason: max_output_tokens"]);
const BUSY: Signs = (
    &[
        "overloaded",
        "unavailable",
        "servererror",
        "apierror",
        "internalerror",
        "internalservererror",
        "capacity",
        "timeout",
    ],
    &["overloaded", "temporarily unavailable"],
);
const RATE: Signs = (&["ratelimit", "resourceexhausted", "toomanyrequests"], &["rate limit"]);
const NO_WAY: Signs =
    (&["connectionfailed"], &["unable to connect", "connection error", "econnrefused", "enotfound", "fetch failed"]);
const REQUEST: Signs = (&["invalidrequest", "badrequest", "invalidargument", "invalidprompt"], &[]);

/// The first matching row decides.
const TABLE: &[Row] = &[
    all(Status::Is(401), Meaning::Auth),
    all(Status::Is(407), Meaning::Auth),
    all(Status::Is(402), Meaning::Quota),
    some(Status::Is(403), CREDIT, Meaning::Quota),
    some(Status::Is(403), MODEL, Meaning::NoModel),
    some(Status::Is(403), FILTER, Meaning::Filtered),
    all(Status::Is(403), Meaning::Auth),
    some(Status::Is(404), TOOLS, Meaning::NoTools),
    some(Status::Is(404), (&[], &["image input", "support image"]), Meaning::NoPictures),
    all(Status::Is(404), Meaning::NoModel),
    some(Status::Is(413), LONG, Meaning::TooLong),
    all(Status::Is(413), Meaning::TooLarge),
    // Of 429, only a word about credit makes it permanent, and not if the vendor names a time.
    some(Status::Is(429), DAY, Meaning::Quota),
    some(Status::Is(429), CREDIT, Meaning::Quota),
    all(Status::Is(429), Meaning::RateLimit),
    all(Status::Is(408), Meaning::Busy),
    all(Status::Is(501), Meaning::ForGood),
    all(Status::Is(505), Meaning::ForGood),
    // Self-hosted servers answer 500 where others answer 400.
    some(Status::From(500, 599), TOOLS, Meaning::NoTools),
    some(Status::From(500, 599), MEMORY, Meaning::NoMemory),
    some(Status::From(500, 599), LONG, Meaning::TooLong),
    some(
        Status::From(500, 599),
        (&[], &["image input is not", "mmproj", "missing data required for image"]),
        Meaning::NoPictures,
    ),
    all(Status::From(500, 599), Meaning::Busy),
    // The rest is for other 4xx refusals, and those without a status.
    some(Status::Any, KEY, Meaning::Auth),
    some(Status::Any, CREDIT, Meaning::Quota),
    some(Status::Any, LONG, Meaning::TooLong),
    some(Status::Any, TOOLS, Meaning::NoTools),
    some(Status::Any, MODEL, Meaning::NoModel),
    some(Status::Any, FILTER, Meaning::Filtered),
    some(Status::Any, CUT, Meaning::Cut),
    some(Status::From(400, 498), PICTURES, Meaning::NoPictures),
    all(Status::Is(400), Meaning::Conversation),
    all(Status::Is(422), Meaning::Conversation),
    all(Status::From(400, 498), Meaning::ForGood),
    some(Status::Any, RATE, Meaning::RateLimit),
    some(Status::Any, BUSY, Meaning::Busy),
    some(Status::Any, REQUEST, Meaning::Conversation),
    some(Status::Any, NO_WAY, Meaning::Unreachable),
    all(Status::Any, Meaning::Unknown),
];

/// Words of the vendors' programs, in small letters, for a session that cannot be resumed because it is not there.
const LOST: [&str; 10] = [
    // Claude Code
    "no conversation found",
    "requires a valid session",
    "is not a uuid",
    // Claude Code, Codex, and Gemini CLI, which says "identifier"
    "invalid session id",
    // Codex
    "no rollout found",
    "invalid thread id",
    "thread not found",
    // Gemini CLI
    "no previous sessions",
    "failed to load session",
    "failed to find session",
];

/// Returns true if a program that was to resume a session says that the session is not there.
pub fn is_lost(said: &str) -> bool {
    let said = said.to_lowercase();
    LOST.iter().any(|words| said.contains(words))
}

/// The vendor's own error, where its JSON stands in a message: words for its kind, and what it says.
pub fn inside(message: &str) -> Option<(String, String)> {
    let start = message.find('{')?;
    let value = serde_json::Deserializer::from_str(&message[start..]).into_iter::<Value>().next()?.ok()?;
    let error = if value["error"].is_object() { &value["error"] } else { &value };
    let said = error["message"].as_str()?.trim().to_owned();
    let words: Vec<&str> = ["type", "code", "status"].iter().filter_map(|key| error[*key].as_str()).collect();
    Some((words.join(" "), said))
}

/// Returns the meaning of a refusal.
pub fn meaning(refusal: Refusal<'_>) -> Meaning {
    let said = refusal.said.to_lowercase();
    let code = inside(refusal.said).map_or_else(String::new, |(code, _)| code) + " " + refusal.code;
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let holds = |row: &&Row| {
        let status = match row.status {
            Status::Is(one) => refusal.status == one,
            Status::From(first, last) => (first..=last).contains(&refusal.status),
            Status::Any => true,
        };
        // A limit per minute may be called a quota, too: then the vendor says how long it lasts.
        let passes = row.means == Meaning::Quota && refusal.waits && refusal.status == 429 && !is_of(DAY, &code, &said);
        let bare = row.codes.is_empty() && row.words.is_empty();
        status && !passes && (bare || is_of((row.codes, row.words), &code, &said))
    };
    TABLE.iter().find(holds).map_or(Meaning::Unknown, |row| row.means)
}

fn is_of((codes, words): Signs, code: &str, said: &str) -> bool {
    codes.iter().any(|part| code.contains(part)) || words.iter().any(|part| said.contains(part))
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
