//! The examples in all help texts. Each command has the words that one types after `parlor`; the text after three
//! spaces explains the line.

/// A command and its examples.
type Examples = (&'static str, &'static [&'static str]);

pub(super) const EXAMPLES: &[Examples] = &[
    ("up", &["parlor up", "parlor up --console   with a chat in this terminal", "parlor up --home /srv/parlor"]),
    (
        "chat",
        &[
            "parlor chat   with the main group",
            "parlor chat lab -m \"what is on today?\"",
            "parlor chat -m \"read this\" --attach report.pdf",
            "parlor chat -m - --timeout 5m   with the text on stdin",
        ],
    ),
    ("setup", &["parlor setup"]),
    ("stop", &["parlor stop", "parlor stop --now   rooms are ended at once"]),
    ("status", &["parlor status", "parlor status --long   with each reason in full", "parlor status --json"]),
    ("groups list", &["parlor groups list", "parlor groups list --available   chats that wrote but are no groups"]),
    (
        "groups add",
        &[
            "parlor groups add web:lab lab",
            "parlor groups add tty:me me --main --requires-trigger false",
            "parlor groups add web:bot bot --agent-provider exec --image full --memory 1g",
        ],
    ),
    ("groups show", &["parlor groups show lab"]),
    (
        "groups update",
        &[
            "parlor groups update lab --model claude-sonnet-4-5 --budget-usd 2.50",
            "parlor groups update lab --mount /srv/photos:photos",
            "parlor groups update lab --model \"\"   back to the installation's",
        ],
    ),
    ("groups remove", &["parlor groups remove lab"]),
    ("groups set-main", &["parlor groups set-main lab"]),
    ("tasks list", &["parlor tasks list", "parlor tasks list lab --all"]),
    ("tasks show", &["parlor tasks show 01K3"]),
    (
        "tasks add",
        &[
            "parlor tasks add lab \"check the oven\" --in 90s",
            "parlor tasks add lab \"say good morning\" --cron \"0 9 * * 1-5\" --zone Europe/Berlin",
            "parlor tasks add lab \"look at the feed\" --every 15m --context group",
            "parlor tasks add lab \"wish a merry Christmas\" --once \"2031-12-24 18:00\"",
        ],
    ),
    ("tasks update", &["parlor tasks update 01K3 --prompt \"look twice\"", "parlor tasks update 01K3 --every 30m"]),
    ("tasks pause", &["parlor tasks pause 01K3"]),
    ("tasks resume", &["parlor tasks resume 01K3"]),
    ("tasks cancel", &["parlor tasks cancel 01K3"]),
    ("tasks run", &["parlor tasks run 01K3"]),
    ("tasks history", &["parlor tasks history 01K3 --limit 5"]),
    ("runs list", &["parlor runs list", "parlor runs list lab --limit 100"]),
    ("runs show", &["parlor runs show 01K3"]),
    ("runs log", &["parlor runs log 01K3", "parlor runs log -f 01K3   to its end"]),
    ("runs stop", &["parlor runs stop 01K3"]),
    ("runs retry", &["parlor runs retry lab"]),
    ("messages", &["parlor messages lab", "parlor messages lab -n 100 --json"]),
    ("sessions list", &["parlor sessions list"]),
    ("sessions forget", &["parlor sessions forget lab"]),
    ("outbox list", &["parlor outbox list", "parlor outbox list --all"]),
    ("outbox show", &["parlor outbox show 01K3"]),
    ("outbox retry", &["parlor outbox retry", "parlor outbox retry 01K3"]),
    ("refusals", &["parlor refusals --limit 10"]),
    ("usage", &["parlor usage", "parlor usage lab --days 7"]),
    ("config show", &["parlor config show --origin", "parlor config show --json"]),
    ("image build", &["parlor image build", "parlor image build full   with Claude Code"]),
    ("image prune", &["parlor image prune --dry-run", "parlor image prune"]),
    ("image status", &["parlor image status"]),
    ("backup", &["parlor backup", "parlor backup /mnt/usb/parlor.tar.gz --keys"]),
    ("restore", &["parlor restore parlor.tar.gz", "parlor restore parlor.tar.gz --home /srv/parlor --replace"]),
    ("import", &["parlor import ~/nanoclaw --dry-run", "parlor import ~/nanoclaw"]),
    ("conformance", &["parlor conformance registry.example/agent:1"]),
    ("doctor", &["parlor doctor", "parlor doctor --json   for monitoring"]),
    ("service install", &["parlor service install", "parlor service install --print   the unit file alone"]),
    ("service uninstall", &["parlor service uninstall"]),
    ("events", &["parlor events", "parlor events --chat web:lab", "parlor events --since 0 --json"]),
    ("logs", &["parlor logs", "parlor logs -f lab", "parlor logs -n 1000"]),
    (
        "completions",
        &[
            "parlor completions bash > ~/.local/share/bash-completion/completions/parlor",
            "parlor completions zsh > ~/.zfunc/_parlor",
            "parlor completions fish > ~/.config/fish/completions/parlor.fish",
        ],
    ),
    ("man", &["parlor man | man -l -", "parlor man ~/.local/share/man/man1"]),
];
