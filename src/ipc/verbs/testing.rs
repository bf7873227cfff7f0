//! A store with the groups `main`, `a` and `b`, for the verbs' unit tests.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use ulid::Ulid;

use super::{Context, Effect, of};
use crate::channel::Registry;
use crate::config::secrets::Redactor;
use crate::ipc::attach::Taken;
use crate::ipc::authorize::Denied;
use crate::ipc::command::{Command, Kind, parse};
use crate::ipc::tests::group;
use crate::store::{Store, Wake, groups, testing};

/// The next run of a task of [`Desk::schedule`].
pub(super) const DUE: &str = "2099-01-01T00:00:00.000Z";

pub(super) struct Desk {
    _dir: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) wakes: mpsc::UnboundedReceiver<Wake>,
    /// The file that was taken for the next request.
    pub(super) file: Option<Taken>,
}

impl Desk {
    pub(super) async fn new() -> Self {
        let (dir, store, wakes) = testing::store();
        for folder in ["main", "a", "b"] {
            store.write(move |tx| groups::register(tx, &group(folder))).await.unwrap();
        }
        Self { _dir: dir, store, wakes, file: None }
    }

    /// Lets a group make a request: the details of its answer, or the reason of the refusal.
    pub(super) async fn ask(&self, folder: &str, request: Value) -> Result<Value, String> {
        let (command, who) = (read(&request), group(folder).folder);
        let now: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let cx = Context {
            claim: Ulid::new(),
            run: None,
            now,
            zone: Tz::UTC,
            channels: Registry::default(),
            file: self.file.clone(),
        };
        let act = self.store.write(move |tx| {
            let who = groups::by_folder(tx, &who)?.unwrap();
            match of(&command).permit(tx, &who) {
                Ok(permit) => permit(tx, &cx),
                Err(Denied::Refused(why)) => Ok(Effect::Refused(why)),
                Err(Denied::Store(error)) => Err(error),
            }
        });
        match act.await {
            Ok(Effect::Done(details)) => Ok(details.into()),
            Ok(Effect::Refused(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Gives a group a task that is due at [`DUE`].
    pub(super) async fn schedule(&self, folder: &str, id: &str) {
        let task = json!({"type": "schedule_task", "taskId": id, "prompt": "p", "schedule_type": "once",
            "schedule_value": "2099-01-01T00:00:00", "targetJid": format!("web:{folder}")});
        self.ask(folder, task).await.unwrap();
    }

    /// A verb on one task: a group may use it on its own tasks and main on any, and its words name the task.
    pub(super) async fn only_for_own_tasks(&self, verb: &str) {
        for (who, id) in [("a", "theirs"), ("a", "also-theirs"), ("main", "mains")] {
            self.schedule(who, id).await;
        }
        let request = |id: &str| json!({"type": verb, "taskId": id});
        for (who, id) in [("b", "theirs"), ("a", "mains"), ("a", "none"), ("main", "none")] {
            let why = format!("there is no task {id} that group {who} may change: see current_tasks.json");
            assert_eq!(self.ask(who, request(id)).await, Err(why));
        }
        let why = self.ask("main", request("../x")).await.unwrap_err();
        assert!(why.contains(r#"task id "../x" is not allowed"#), "{why}");
        assert!(words(&request("t\n")).starts_with(&format!(r#"{verb} "t\n""#)));
        for (who, id) in [("a", "theirs"), ("main", "also-theirs")] {
            assert_eq!(self.ask(who, request(id)).await.unwrap()["taskId"], id);
        }
    }
}

/// The words for a request.
pub(super) fn words(request: &Value) -> String {
    of(&read(request)).words()
}

fn read(request: &Value) -> Command {
    let bytes = request.to_string();
    let read = |kind| parse(kind, bytes.as_bytes(), &Redactor::default());
    read(Kind::Task).or_else(|_| read(Kind::Message)).unwrap().command
}
