use super::*;
use crate::domain::group::ContainerConfig;
use crate::domain::schedule::Schedule;
use crate::domain::task::{ContextMode, FireState, TaskStatus};
use crate::import::source::{RawGroup, RawMessage, RawRun, RawTask};

fn at(text: &str) -> DateTime<Utc> {
    time(text).unwrap()
}

fn raw_group(jid: &str, folder: &str) -> RawGroup {
    RawGroup {
        jid: jid.into(),
        name: folder.into(),
        folder: folder.into(),
        trigger: Some("@Andy".into()),
        added_at: Some("2026-01-01T00:00:00.000Z".into()),
        requires_trigger: Some(true),
        is_main: Some(false),
        ..RawGroup::default()
    }
}

fn here(jid: &str, folder: &str, is_main: bool) -> Group {
    Group {
        folder: folder.parse().unwrap(),
        jid: jid.parse().unwrap(),
        name: folder.into(),
        trigger: None,
        requires_trigger: false,
        is_main,
        container_config: ContainerConfig::default(),
        created_at: at("2026-01-01T00:00:00Z"),
        paused: None,
    }
}

struct Case {
    tables: Tables,
    folders: Folders,
    present: Present,
    zone: Tz,
    report: Report,
}

impl Case {
    fn of(groups: Vec<RawGroup>) -> Self {
        let tables = Tables { groups, last_agent_timestamp: Some("{}".into()), ..Tables::default() };
        let report = Report::default();
        Self { tables, folders: Folders::default(), present: Present::default(), zone: Tz::UTC, report }
    }

    fn plan(&mut self) -> Plan {
        let senders = SenderRules::from_file(Ok(None));
        let now = at("2026-06-01T12:00:00Z");
        let rules = Rules { senders: &senders, assistant_name: "Andy", zone: self.zone, now };
        plan(&self.tables, &self.folders, &self.present, &rules, &mut self.report)
    }

    /// The details of items with this outcome.
    fn why(&self, kind: Kind, outcome: Outcome) -> Vec<&str> {
        let fits = self.report.items.iter().filter(|item| item.kind == kind && item.outcome == outcome);
        fits.map(|item| item.detail.as_str()).collect()
    }
}

#[test]
fn main_group_is_found_by_the_column_or_in_old_versions_the_folder() {
    let old = |folder: &str| RawGroup { is_main: None, ..raw_group(&format!("{folder}@g.us"), folder) };
    let plan = Case::of(vec![old("main"), old("other")]).plan();
    let found: Vec<_> = plan.groups.iter().map(|p| (p.group.is_main, p.group.requires_trigger)).collect();
    assert_eq!(found, [(true, false), (false, true)]);

    let main = |folder: &str| RawGroup { is_main: Some(true), ..raw_group(&format!("{folder}@g.us"), folder) };
    let mut case = Case::of(vec![main("a"), main("b")]);
    case.present.groups = vec![here("tty:main", "main", true)];
    let plan = case.plan();
    assert!(plan.groups.iter().all(|p| !p.group.is_main && !p.group.requires_trigger));
    assert_eq!(case.why(Kind::Group, Outcome::Changed).len(), 2);
    assert!(case.why(Kind::Group, Outcome::Changed)[0].starts_with("main is main: `parlor groups set-main a`"));
}

#[test]
fn groups_in_use_or_not_allowed_are_left_out_with_their_data() {
    let rows = [
        ("one@g.us", "taken"),
        ("used@g.us", "free"),
        ("new@g.us", "FOLDER"),
        ("x@g.us", "../x"),
        ("y@g.us", "global"),
        ("z z", "spaces"),
        ("two@g.us", "TAKEN"),
        ("same@g.us", "same"),
    ];
    let mut case = Case::of(rows.iter().map(|(jid, folder)| raw_group(jid, folder)).collect());
    case.present.groups =
        vec![here("used@g.us", "other", false), here("web:f", "folder", false), here("same@g.us", "Same", false)];
    case.folders.groups = ["FOLDER", "free", "global", "loose", "same", "taken", "Taken"].map(str::to_owned).into();
    case.tables.sessions = vec![("FOLDER".into(), "s1".into()), ("taken".into(), "s2".into())];
    let message = RawMessage { id: "1".into(), jid: "new@g.us".into(), text: "hi".into(), ..RawMessage::default() };
    case.tables.messages = vec![RawMessage { timestamp: "2026-01-01T00:00:00Z".into(), ..message }];
    let plan = case.plan();
    let taken: Vec<_> = plan.groups.iter().map(|p| (p.group.folder.to_string(), p.is_here)).collect();
    assert_eq!(taken, [("taken".to_owned(), false), ("Same".to_owned(), true)]);
    assert_eq!(plan.groups[0].session.as_deref(), Some("s2"));
    let why = case.why(Kind::Group, Outcome::LeftOut);
    let wanted =
        ["folder other here", "used by the chat web:f here", "not allowed", "reserved", "not allowed", "earlier row"];
    assert_eq!(why.len(), wanted.len());
    for (why, wanted) in why.iter().zip(wanted) {
        assert!(why.contains(wanted), "{why}: {wanted}");
    }
    let trees: Vec<_> = plan.workspaces.iter().map(|tree| (tree.from.as_str(), tree.to.as_str())).collect();
    assert_eq!(trees, [("global", "global"), ("loose", "loose"), ("same", "Same"), ("taken", "taken")]);
    assert_eq!(case.why(Kind::File, Outcome::LeftOut).len(), 3);
    assert_eq!(case.report.count(Kind::Session, Outcome::LeftOut), 1);
    assert_eq!(case.report.count(Kind::Message, Outcome::LeftOut), 1);
}

#[test]
fn invalid_container_settings_are_left_out_one_by_one() {
    let with = |config: &str| {
        let group = RawGroup { container_config: Some(config.into()), ..raw_group("a@g.us", "a") };
        let mut case = Case::of(vec![group]);
        let config = case.plan().groups.remove(0).group.container_config;
        (config.additional_mounts.len(), config.timeout, case.why(Kind::Group, Outcome::Changed).len())
    };
    let mount = r#"{"hostPath":"~/p","containerPath":"p","readonly":false}"#;
    assert_eq!(with(&format!(r#"{{"additionalMounts":[{mount}],"timeout":600000}}"#)), (1, Some(600_000), 0));
    assert_eq!(with(&format!(r#"{{"additionalMounts":[{mount}],"timeout":5,"env":{{}}}}"#)), (1, None, 2));
    assert_eq!(with(&format!(r#"{{"additionalMounts":[{mount},{{"hostPath":"/a:b"}}]}}"#)), (1, None, 1));
    assert_eq!(with("{broken"), (0, None, 1));
    assert_eq!(with("null"), (0, None, 0));
}

fn raw_task(kind: &str, value: &str, next: Option<&str>) -> RawTask {
    RawTask {
        id: "t1".into(),
        folder: "a".into(),
        jid: "a@g.us".into(),
        prompt: "do".into(),
        schedule_type: kind.into(),
        schedule_value: value.into(),
        next_run: next.map(str::to_owned),
        status: "active".into(),
        created_at: Some("2026-05-01T00:00:00.000Z".into()),
        ..RawTask::default()
    }
}

fn planned_task(raw: RawTask, zone: Tz) -> Result<(Task, Vec<String>), String> {
    let mut case = Case::of(vec![raw_group("a@g.us", "a")]);
    case.zone = zone;
    case.tables.tasks = vec![raw];
    let task = case.plan().groups.remove(0).tasks.pop();
    let notes = case.why(Kind::Task, Outcome::Changed).into_iter().map(str::to_owned).collect();
    task.map(|task| (task, notes)).ok_or_else(|| case.why(Kind::Task, Outcome::LeftOut).join("; "))
}

#[test]
fn tasks_keep_their_next_time() {
    let next = Some("2026-06-02T07:00:00.000Z");
    for (kind, value) in [("cron", "0 9 * * *"), ("interval", "3600000"), ("once", "2026-06-02T09:00:00")] {
        let (task, notes) = planned_task(raw_task(kind, value, next), Tz::Europe__Berlin).unwrap();
        assert_eq!((task.next_due, notes.len()), (Some(at("2026-06-02T07:00:00Z")), 0), "{kind}");
        assert_eq!((task.schedule.kind(), task.schedule.to_string().as_str()), (kind, value));
        assert_eq!((task.context_mode, task.timezone), (ContextMode::Isolated, None));
        if kind == "interval" {
            let after = task.schedule.next_due(task.next_due.unwrap(), task.anchor, Tz::UTC);
            assert_eq!(after, Some(at("2026-06-02T08:00:00Z")), "on the grid of the next time");
        }
    }
    let group =
        RawTask { context_mode: Some("group".into()), status: "paused".into(), ..raw_task("cron", "0 9 * * *", next) };
    let (task, _) = planned_task(group, Tz::UTC).unwrap();
    assert_eq!((task.context_mode, task.status), (ContextMode::Group, TaskStatus::Paused));
    let over = RawTask { status: "completed".into(), ..raw_task("once", "2026-01-02T09:00:00", None) };
    let (task, notes) = planned_task(over, Tz::UTC).unwrap();
    assert_eq!((task.status, task.next_due, notes.len()), (TaskStatus::Completed, None, 0));
}

#[test]
fn invalid_tasks_are_corrected_or_left_out() {
    let (task, notes) = planned_task(raw_task("once", "2026-06-02T09:00:00Z", None), Tz::Europe__Berlin).unwrap();
    assert_eq!(task.schedule, Schedule::Once("2026-06-02T09:00:00Z".into()), "an offset says it all");
    assert_eq!((task.next_due, notes.len()), (Some(at("2026-06-02T09:00:00Z")), 1));
    let (task, _) = planned_task(raw_task("once", "tomorrow", Some("2026-06-02T09:00:00Z")), Tz::UTC).unwrap();
    assert_eq!(task.schedule, Schedule::Once("2026-06-02T09:00:00".into()));
    let (task, notes) = planned_task(raw_task("cron", "0 9 * * *", Some("soon")), Tz::UTC).unwrap();
    assert_eq!((task.next_due, notes.len()), (Some(at("2026-06-02T09:00:00Z")), 1));
    let (task, notes) = planned_task(raw_task("once", "2026-01-02T09:00:00", None), Tz::UTC).unwrap();
    assert_eq!((task.status, notes.len()), (TaskStatus::Completed, 1));
    let away = RawTask { jid: "b@g.us".into(), ..raw_task("cron", "0 9 * * *", Some("2026-06-02T09:00:00Z")) };
    let (task, notes) = planned_task(away, Tz::UTC).unwrap();
    assert_eq!((task.jid.as_str(), notes.len()), ("a@g.us", 1));

    let bad = |change: fn(&mut RawTask)| {
        let mut task = raw_task("cron", "0 9 * * *", None);
        change(&mut task);
        planned_task(task, Tz::UTC).unwrap_err()
    };
    assert!(bad(|t| t.schedule_value = "0 0 9 * * *".into()).contains("it has 6 fields"));
    assert!(bad(|t| t.schedule_type = "yearly".into()).contains("not known"));
    assert!(bad(|t| (t.schedule_type, t.schedule_value) = ("interval".into(), "50".into())).contains("10 seconds"));
    assert!(bad(|t| (t.schedule_type, t.schedule_value) = ("once".into(), "x".into())).contains("local time"));
    assert!(bad(|t| t.status = "odd".into()).contains("status"));
    assert!(bad(|t| t.id = "a/b".into()).contains("task id"));
    assert!(bad(|t| t.folder = "gone".into()).contains("not taken"));
    assert!(bad(|t| t.prompt.clear()).contains("no prompt"));
}

#[test]
fn task_history_comes_from_the_log_or_the_last_run() {
    let mut case = Case::of(vec![raw_group("a@g.us", "a")]);
    let run = |run_at: &str, status: &str| RawRun {
        task: "t1".into(),
        run_at: run_at.into(),
        duration_ms: Some(1500),
        status: status.into(),
        result: Some("ok".into()),
        error: None,
    };
    case.tables.tasks = vec![raw_task("cron", "0 9 * * *", Some("2026-06-02T09:00:00Z"))];
    case.tables.runs =
        vec![run("2026-05-31T09:00:01.500Z", "success"), run("never", "success"), run("2026-06-01T09:00:00Z", "error")];
    case.tables.runs.push(RawRun { task: "gone".into(), ..run("2026-05-31T09:00:00Z", "success") });
    let fires = case.plan().groups.remove(0).fires;
    let found: Vec<_> = fires.iter().map(|fire| (fire.due, fire.state)).collect();
    assert_eq!(
        found,
        [(at("2026-05-31T09:00:00Z"), FireState::Done), (at("2026-06-01T08:59:58.500Z"), FireState::Failed)]
    );
    assert_eq!(fires[0].ended_at, Some(at("2026-05-31T09:00:01.500Z")));
    assert_eq!(case.report.count(Kind::Firing, Outcome::LeftOut), 2);

    case.tables.runs.clear();
    case.tables.tasks[0].last_run = Some("2026-05-31T09:00:00Z".into());
    case.tables.tasks[0].last_result = Some("Error: broke".into());
    let fire = case.plan().groups.remove(0).fires.remove(0);
    assert_eq!((fire.state, fire.result, fire.error.as_deref()), (FireState::Failed, None, Some("broke")));
}

fn texts(state: Option<&str>, columns: bool) -> (Vec<(String, Role, InboundState)>, Report) {
    let mut case = Case::of(vec![raw_group("a@g.us", "a")]);
    case.tables.last_agent_timestamp = state.map(str::to_owned);
    let message = |id: &str, second: u32, text: &str, from_me: bool, from_bot: bool| RawMessage {
        id: id.into(),
        jid: "a@g.us".into(),
        sender: "ann".into(),
        sender_name: "Ann".into(),
        text: text.into(),
        timestamp: format!("2026-05-01T00:00:{second:02}.000Z"),
        from_me,
        from_bot: columns.then_some(from_bot),
    };
    // Not sorted by time.
    case.tables.messages = vec![
        message("6", 5, "@Andy again", true, false),
        message("1", 1, "@Andy old", false, false),
        message("2", 2, "Andy: answered", true, true),
        message("3", 3, "by the way", false, false),
        message("4", 4, "@andy new", false, false),
        message("5", 4, "Andy: hm", true, true),
        message("7", 6, " ", false, false),
    ];
    let planned = case.plan().groups.remove(0).messages;
    (planned.into_iter().map(|(new, role, state)| (new.platform_id, role, state)).collect(), case.report)
}

#[test]
fn answered_messages_become_history_and_others_wait() {
    use InboundState::{Done, Pending};
    use Role::{Context, Trigger};
    let wanted = |states: [(Role, InboundState); 6]| {
        ["1", "2", "3", "4", "5", "6"]
            .iter()
            .zip(states)
            .map(|(id, (role, state))| (id.to_string(), role, state))
            .collect::<Vec<_>>()
    };
    let after_two = wanted([
        (Context, Done),
        (Context, Done),
        (Context, Pending),
        (Trigger, Pending),
        (Context, Done),
        (Context, Pending),
    ]);
    for columns in [true, false] {
        let (found, report) = texts(Some(r#"{"a@g.us":"2026-05-01T00:00:02.000Z"}"#), columns);
        assert_eq!(found, after_two, "with the columns: {columns}");
        assert_eq!(report.count(Kind::Message, Outcome::LeftOut), 1);
    }
    // The record was lost: the agent's last message was its answer.
    let (found, _) = texts(Some("{}"), true);
    let after_five = wanted([
        (Context, Done),
        (Context, Done),
        (Context, Done),
        (Context, Done),
        (Context, Done),
        (Context, Pending),
    ]);
    assert_eq!(found, after_five);
    let all_done = wanted([(Context, Done); 6]);
    for state in [None, Some("{broken"), Some(r#"{"a@g.us":"late"}"#), Some(r#"{"a@g.us":7}"#)] {
        let (found, report) = texts(state, true);
        assert_eq!(found, all_done, "{state:?}");
        assert_eq!(report.count(Kind::Message, Outcome::Changed), 1, "{state:?}");
    }
    let (found, _) = texts(Some(r#"{"a@g.us":""}"#), true);
    assert_eq!(found[0], ("1".to_owned(), Trigger, Pending));
}
