use chrono::Timelike;
use proptest::prelude::*;

use super::super::when::Problem;
use super::*;

fn cron(fields: &str) -> When {
    When::Cron(fields.into())
}

fn command(text: &str) -> Command {
    parse(text).0
}

/// Returns the task's prompt, and its time in the short form of the tables below.
fn scheduled(text: &str) -> (String, String) {
    let (command, _) = parse(text);
    let Command::Schedule(when, prompt) = command else { return ("none".into(), format!("{command:?}")) };
    let when = match when {
        When::In(ms) => format!("in {ms}"),
        When::Every(ms) => format!("every {ms}"),
        When::Cron(fields) => fields,
        When::Daily => "daily".into(),
        When::At(day, clock) => format!("{day:?} {}:{:02}", clock.time.hour(), clock.time.minute()),
        When::Never(problem) => format!("{problem:?}"),
    };
    (when, prompt)
}

#[test]
fn reminders_have_the_time_before_or_after() {
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
        assert_eq!(command(text), Command::Schedule(when, prompt.into()), "{text}");
    }
}

#[test]
fn common_reminders_are_parsed_and_no_time_becomes_the_subject() {
    let friday = "Weekday(Fri) 9:00";
    let christmas = "Annual(12, 24) 9:00";
    for (text, when, subject) in [
        ("remind me in 3 days at 9am to renew", "Plus(3) 9:00", "renew"),
        ("every weekday except friday at 8 wake up", "0 8 * * 1,2,3,4", "wake up"),
        ("every 15 minutes from 9 to 17 check mail", "*/15 9-16 * * *", "check mail"),
        ("mondays at 9 stand up", "0 9 * * 1", "stand up"),
        ("wake me up at 7", "Next 7:00", "wake up"),
        ("remind me on friday at 4 to leave", "Weekday(Fri) 16:00", "leave"),
        ("could you please remind me at 18 to call Bob?", "Next 18:00", "call Bob"),
        ("remind me in a couple of minutes to look", "in 120000", "look"),
        ("remind me to look in 1.5 hours", "in 5400000", "look"),
        ("at 17.30 leave", "Next 17:30", "leave"),
        ("remind me at 17h30 to leave", "Next 17:30", "leave"),
        ("remind me 5pm to leave", "Next 17:00", "leave"),
        ("remind me this friday to rest", friday, "rest"),
        ("remind me friday to rest", friday, "rest"),
        ("remind me next week to rest", "Plus(7) 9:00", "rest"),
        ("remind me to rest next month", "Months(1) 9:00", "rest"),
        ("remind me on December 24 to sing", christmas, "sing"),
        ("remind me on 24 December to sing", christmas, "sing"),
        ("remind me on Dec 24th to sing", christmas, "sing"),
        ("remind me 24.12. to sing", christmas, "sing"),
        ("remind me on 12/24 to sing", christmas, "sing"),
        ("remind me every other day to water the plants", "every 172800000", "water the plants"),
        ("every first monday of the month pay rent", "0 9 * * 1#1", "pay rent"),
        ("every year on December 24 sing", "0 9 24 12 *", "sing"),
        ("everyday at 8 run date", "0 8 * * *", "!run date"),
        ("weekdays at 9 stand up", "0 9 * * 1-5", "stand up"),
        ("on weekends sleep", "0 9 * * 0,6", "sleep"),
        ("twice a day drink", "0 9,21 * * *", "drink"),
        ("remind Anna in 10 minutes to call", "in 600000", "Anna: call"),
        ("set a timer for 5 minutes", "in 300000", "the timer is over"),
        ("timer 5 min", "in 300000", "the timer is over"),
        ("set an alarm for 7:30", "Next 7:30", "alarm"),
        ("don't forget to call Ann tomorrow at 9", "Plus(1) 9:00", "call Ann"),
        ("remind me tomorrow at school to ask", "Plus(1) 9:00", "at school to ask"),
    ] {
        let prompt = subject.strip_prefix('!').map_or(format!("Remind the chat: {subject}"), str::to_owned);
        assert_eq!(scheduled(text), (when.to_owned(), prompt), "{text}");
    }
}

#[test]
fn requests_in_other_languages_are_parsed() {
    for (lang, text, when, subject) in [
        (Lang::De, "Erinnere mich in 10 Minuten an den Herd", "in 600000", "den Herd"),
        (Lang::De, "erinnere mich morgen um 9 Uhr daran, Anna anzurufen", "Plus(1) 9:00", "Anna anzurufen"),
        (Lang::De, "erinnere mich am 24. Dezember um halb neun ans Singen", "Annual(12, 24) 8:30", "ans Singen"),
        (Lang::De, "jeden Montag um 8:30 Woche planen", "30 8 * * 1", "Woche planen"),
        (Lang::De, "werktags außer freitags um 8 aufstehen", "0 8 * * 1,2,3,4", "aufstehen"),
        (Lang::De, "alle 15 Minuten von 9 bis 17 Post ansehen", "*/15 9-16 * * *", "Post ansehen"),
        (Lang::De, "in anderthalb Stunden Wäsche", "in 5400000", "Wäsche"),
        (Lang::De, "weck mich um 7", "Next 7:00", "aufwachen"),
        (Lang::Es, "Recuérdame en 10 minutos apagar el horno", "in 600000", "apagar el horno"),
        (Lang::Es, "recuerdame manana a las 9 llamar a Ana", "Plus(1) 9:00", "llamar a Ana"),
        (Lang::Es, "todos los lunes a las 8:30 planear la semana", "30 8 * * 1", "planear la semana"),
        (Lang::Es, "recuérdame el 24 de diciembre a las 18 cantar", "Annual(12, 24) 18:00", "cantar"),
        (Lang::Es, "recuérdame mañana a las 9 de la noche dormir", "Plus(1) 21:00", "dormir"),
        (Lang::Fr, "Rappelle-moi dans 10 minutes d'éteindre le four", "in 600000", "éteindre le four"),
        (Lang::Fr, "rappelle-moi demain à 9h d'appeler Anne", "Plus(1) 9:00", "appeler Anne"),
        (Lang::Fr, "tous les lundis à 8h30 préparer la semaine", "30 8 * * 1", "préparer la semaine"),
        (Lang::Fr, "rappelle-moi vendredi à 16h de partir", "Weekday(Fri) 16:00", "partir"),
    ] {
        let (_, found) = parse(text);
        assert_eq!(found, lang, "{text}");
        assert_eq!(scheduled(text), (when.to_owned(), format!("{} {subject}", lang.remind())), "{text}");
    }
    for (lang, text, expected) in [
        (Lang::De, "Hallo!", Command::Greeting),
        (Lang::De, "Danke", Command::Thanks),
        (Lang::De, "zeige meine Aufgaben", Command::ListTasks),
        (Lang::De, "lösche 2", Command::Change(Change::Cancel, "2".into())),
        (Lang::De, "Merke dir, dass Anna Tee mag", Command::Remember("Anna Tee mag".into())),
        (Lang::De, "wie spät ist es?", Command::Time),
        (Lang::Es, "¡Hola!", Command::Greeting),
        (Lang::Es, "tareas", Command::ListTasks),
        (Lang::Es, "cancela 2", Command::Change(Change::Cancel, "2".into())),
        (Lang::Es, "recuerda que a Ana le gusta el té", Command::Remember("a Ana le gusta el té".into())),
        (Lang::Fr, "Bonjour", Command::Greeting),
        (Lang::Fr, "mes tâches", Command::ListTasks),
        (Lang::Fr, "annule tout", Command::CancelAll),
        (Lang::Fr, "aide", Command::Help),
    ] {
        assert_eq!(parse(text), (expected, lang), "{text}");
    }
}

#[test]
fn incomplete_reminders_name_the_missing_part() {
    let part = |text: &str| match command(text) {
        Command::Unclear(Unclear::Part(part, _)) => part,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(command("remind me to buy milk"), Command::Unclear(Unclear::NoTime));
    assert_eq!(command("remind me"), Command::Unclear(Unclear::NoTime));
    assert_eq!(command("don't forget the milk"), Command::Unclear(Unclear::NoTime));
    assert_eq!(command("remind me in 10 seconds"), Command::Unclear(Unclear::NoSubject));
    assert_eq!(command("every minute"), Command::Unclear(Unclear::NoSubject));
    assert_eq!(part("remind me on the 32nd of may to sing"), "on the 32nd of may");
    assert_eq!(part("remind me at 25:00 to sing"), "at 25:00");
    assert_eq!(part("remind me every day from 9 until 5ish to stand"), "from 9 until 5ish to stand");
    assert!(matches!(
        command("every second tuesday put the bins out"),
        Command::Schedule(When::Never(Problem::EveryOtherWeek), _)
    ));
    assert!(matches!(
        command("remind me on 3/4 to sing"),
        Command::Schedule(When::Never(Problem::WhichMonth(3, 4)), _)
    ));
}

#[test]
fn one_letter_typos_are_offered_corrected() {
    let offered = |text: &str| match command(text) {
        Command::Unknown(Some(meant)) | Command::Unclear(Unclear::Part(_, Some(meant))) => meant,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(offered("reminde me in 5 minutes to call"), "remind me in 5 minutes to call");
    assert_eq!(offered("remind me in 5 minuts to call"), "remind me in 5 minutes to call");
    assert_eq!(offered("lsit tasks"), "list tasks");
    assert_eq!(command("write a poem"), Command::Unknown(None));
}

#[test]
fn requests_other_than_reminders_are_parsed() {
    let changed = |change, task: &str| Command::Change(change, task.into());
    for (text, expected) in [
        ("", Command::Greeting),
        ("Hello!", Command::Greeting),
        ("What can you do?", Command::Help),
        ("?", Command::Help),
        ("Who are you?", Command::About),
        ("list tasks", Command::ListTasks),
        ("show my reminders, please", Command::ListTasks),
        ("cancel task #2", changed(Change::Cancel, "#2")),
        ("Pause the reminder 01ABC.", changed(Change::Pause, "01ABC")),
        ("cancel all", Command::CancelAll),
        ("undo", Command::Undo),
        ("snooze", Command::Snooze(When::In(600_000))),
        ("snooze for 5 minutes", Command::Snooze(When::In(300_000))),
        ("yes", Command::Yes),
        ("run 3 now", changed(Change::Run, "3")),
        ("run task 3", changed(Change::Run, "3")),
        ("run ls -la now and then", Command::Run("ls -la now and then".into())),
        ("ls -la", Command::Run("ls -la".into())),
        ("ls photos", Command::ListFiles("photos".into())),
        ("$ echo hi", Command::Run("echo hi".into())),
        ("Run echo \"a\"\necho b", Command::Run("echo \"a\"\necho b".into())),
        ("What’s in my folder?", Command::ListFiles(String::new())),
        ("show me the files", Command::ListFiles(String::new())),
        ("list files in conversations", Command::ListFiles("conversations".into())),
        (
            "list files in attachments\n[File: attachments/1-a.pdf (application/pdf, 1.2 MB)]",
            Command::ListFiles("attachments".into()),
        ),
        (
            "[Image: attachments/1-b.png]\n[File: attachments/1-a.pdf (999 bytes)]",
            Command::Files(vec!["attachments/1-b.png".into(), "attachments/1-a.pdf".into()]),
        ),
        ("show me the file `a b.txt`", Command::Show("a b.txt".into())),
        ("remember that Ann likes tea", Command::Remember("Ann likes tea".into())),
        ("remember: tea", Command::Remember("tea".into())),
        ("forget that Ann likes tea", Command::Forget("Ann likes tea".into())),
        ("what do you remember?", Command::Recall),
        ("Remind the chat: at 9 tea", Command::Remind("at 9 tea".into())),
        ("Erinnere den Chat: Tee", Command::Remind("Tee".into())),
        ("register web:team as team", Command::Register("web:team".into(), "team".into())),
        ("tomorrow is a holiday", Command::Unknown(None)),
        ("at home", Command::Unknown(None)),
        ("write a poem", Command::Unknown(None)),
        ("remember", Command::Unknown(None)),
        ("five apples", Command::Unknown(None)),
    ] {
        assert_eq!(command(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn parser_survives_any_text(
        text in "(?s)(remind me|erinnere mich|in|at|um|a las|every|jeden|run|show|cron|except|from|to|24\\.12|3/4|\\PC| |\n|[0-9:.hH]){0,20}"
    ) {
        let _ = parse(&text);
    }

    /// A reminder's text is kept unchanged, whatever it is, if "to" precedes it.
    #[test]
    fn reminder_text_is_kept_unchanged(subject in "[A-Za-z][a-z]{1,8}( [A-Za-z0-9*$#äöü]{1,8}){0,5}x") {
        let (command, _) = parse(&format!("remind me in 10 minutes to {subject}"));
        prop_assert_eq!(command, Command::Schedule(When::In(600_000), format!("Remind the chat: {subject}")));
    }
}
