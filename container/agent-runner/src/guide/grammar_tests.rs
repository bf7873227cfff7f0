use super::*;
use proptest::prelude::*;

fn cron(fields: &str) -> When {
    When::Cron(fields.into())
}

#[test]
fn reminders_with_the_time_before_and_after() {
    for (text, when, prompt) in [
        ("remind me in 10 seconds to buy Milk", When::In(10_000), "Remind the chat: buy Milk"),
        ("Please remind me to buy Milk in 10 seconds.", When::In(10_000), "Remind the chat: buy Milk"),
        ("in 5 minutes, check the oven", When::In(300_000), "Remind the chat: check the oven"),
        ("in 5 minutes remind us that it's over", When::In(300_000), "Remind the chat: it's over"),
        ("every minute say hi there", When::Every(60_000), "say hi there"),
        ("say hi there every minute", When::Every(60_000), "say hi there"),
        ("every day at 9 run ./backup.sh --all", cron("0 9 * * *"), "run ./backup.sh --all"),
        ("remind me every day at 9 to run", cron("0 9 * * *"), "Remind the chat: run"),
        ("every monday at 8:30 plan the week", cron("30 8 * * 1"), "Remind the chat: plan the week"),
        ("Every Monday, Friday at 8: stand up\nnow", cron("0 8 * * 1,5"), "Remind the chat: stand up\nnow"),
        ("every day at 18:00 list tasks", cron("0 18 * * *"), "list tasks"),
        ("cron 0 9 * * 1-5 standup", cron("0 9 * * 1-5"), "Remind the chat: standup"),
    ] {
        assert_eq!(parse(text), Command::Schedule(when, prompt.into()), "{text}");
    }
    for text in ["at 17:30 call Ann", "remind me at 17:30 to call Ann", "remind me to call Ann at 17:30"] {
        let Command::Schedule(When::At(when::Day::Next, time), prompt) = parse(text) else { panic!("{text}") };
        assert_eq!((time.to_string().as_str(), prompt.as_str()), ("17:30:00", "Remind the chat: call Ann"), "{text}");
    }
}

#[test]
fn half_reminders_say_what_is_missing() {
    assert_eq!(parse("remind me to buy milk"), Command::Unclear(NO_TIME));
    assert_eq!(parse("remind me"), Command::Unclear(NO_TIME));
    assert_eq!(parse("remind me in 10 seconds"), Command::Unclear(NO_SUBJECT));
    assert_eq!(parse("every minute"), Command::Unclear(NO_SUBJECT));
}

#[test]
fn everything_else() {
    let changed = |change, task: &str| Command::Change(change, task.into());
    for (text, command) in [
        ("", Command::Greeting),
        ("Hello!", Command::Greeting),
        ("What can you do?", Command::Help),
        ("?", Command::Help),
        ("Who are you?", Command::About),
        ("list tasks", Command::ListTasks),
        ("show my reminders, please", Command::ListTasks),
        ("cancel task #2", changed(Change::Cancel, "#2")),
        ("Pause the reminder 01ABC.", changed(Change::Pause, "01ABC")),
        ("run 3 now", changed(Change::Run, "3")),
        ("run task 3", changed(Change::Run, "3")),
        ("run ls -la now and then", Command::Run("ls -la now and then".into())),
        ("$ echo hi", Command::Run("echo hi".into())),
        ("Run echo \"a\"\necho b", Command::Run("echo \"a\"\necho b".into())),
        ("What’s in my folder?", Command::ListFiles(String::new())),
        ("list files in conversations", Command::ListFiles("conversations".into())),
        ("show me the file `a b.txt`", Command::Show("a b.txt".into())),
        ("remember that Ann likes tea", Command::Remember("Ann likes tea".into())),
        ("remember: tea", Command::Remember("tea".into())),
        ("what do you remember?", Command::Recall),
        ("Remind the chat: at 9 tea", Command::Remind("at 9 tea".into())),
        ("register web:team as team", Command::Register("web:team".into(), "team".into())),
        ("tomorrow is a holiday", Command::Unknown),
        ("at home", Command::Unknown),
        ("write a poem", Command::Unknown),
        ("remember", Command::Unknown),
    ] {
        assert_eq!(parse(text), command, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in "(?s)(remind me|in|at|every|run|show|cron|\\PC| |\n|[0-9:]){0,20}") {
        let _ = parse(&text);
    }
}
