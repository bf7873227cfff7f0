//! What the guide says when it does nothing else.

/// What can be asked, with examples.
pub const HELP: &str = "Here is what I can do. Write it as it stands, or nearly so:

**Reminders and tasks**
- remind me in 10 minutes to stretch
- at 17:30 call Ann · tomorrow at 9 send the report
- every minute say hello · every day at 9 drink water · every monday at 8:30 plan the week
- every day at 18:00 run ./backup.sh
- list tasks · pause 1 · resume 1 · run 1 now · cancel 1

**My folder and memory**
- list files · show notes.txt
- remember that the meeting is in room 5 · what do you remember

**My room**
- run uname -a (any shell command, in a container of this group's own)

**And** help · who are you · status · time
In the main group also: list chats · register web:team as team";

/// Who the guide is, and what Parlor is.
pub fn about(name: &str) -> String {
    format!(
        "I am {name}, Parlor's built-in guide: a small program, not a language model. I need no key and no network, and \
         everything I do is real.\n\n\
         Parlor gives every chat group an agent in a room of its own: a container that starts when you write, sees this \
         group's folder and nothing of other groups, and is gone when it is idle. The folder, the memory in CLAUDE.md \
         and the tasks stay.\n\n\
         With a key for a language model, or a program of your own (provider `exec`), the same room gets a cleverer \
         agent. Write “help” to see what I can do."
    )
}

/// An answer to a greeting.
pub fn greeting(name: &str) -> String {
    format!(
        "Hello! I am {name}, Parlor's guide. I can remind you of things, keep notes, and run commands in this group's own \
         room. Try “remind me in 10 seconds to smile”, or write “help”."
    )
}

/// An answer to what the grammar does not know.
pub fn unknown(request: &str) -> String {
    let shown: String = request.chars().take(80).collect();
    let more = if request.chars().nth(80).is_some() { "…" } else { "" };
    format!(
        "I did not understand “{shown}{more}”: I am a small program and know only certain phrases. For example:\n\
         - remind me in 10 minutes to stretch\n\
         - list tasks\n\
         - remember that Ann likes tea\n\
         - run date\n\
         Write “help” for all of them."
    )
}
