//! Drives a machine by hand: the test decides when the store answers and when everything else happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ulid::Ulid;

use super::event::{AgentOutput, AskId, Effect, Event, Opened};
use super::fallback::Answering;
use super::hold::Now;
use super::jobs::{Answer, Facts, Job};
use super::machine::{Ids, Machine};
use super::slots::Load;
use super::steps::Routes;
use super::tests::house;
use crate::container::run::turn::Settled;
use crate::container::run::{EndReason, Outcome};
use crate::domain::clock::from_ms;
use crate::domain::group::Group;
use crate::domain::ids::RunId;
use crate::domain::message::{NewMessage, Role};
use crate::domain::run::{Lane, RunState};
use crate::store::memory::Memory;
use crate::store::outbox::Route;
use crate::store::{StoreError, groups, inbound};

struct Hand {
    db: Memory,
    machine: Machine,
    now: Now,
    jobs: VecDeque<Job>,
    /// The effects other than jobs for the store.
    wanted: Vec<Effect>,
    routes: Routes,
}

impl Hand {
    fn new() -> Self {
        let db = Memory::default();
        db.write(|tx| groups::register(tx, &house::group("a"))).unwrap();
        let now = Now { monotonic: Instant::now(), wall: from_ms(1_767_225_600_000) };
        let routes: Routes = Arc::new(|_| Route::Local);
        let settings = Arc::new(crate::api::tests::settings("/nowhere".as_ref()));
        let machine = Machine::new(settings, house::jid("a"), Ids(Arc::new(Ulid::new)), routes.clone(), now);
        Self { db, machine, now, jobs: VecDeque::new(), wanted: Vec::new(), routes }
    }

    fn feed(&mut self, event: Event) {
        for effect in self.machine.apply(event, self.now) {
            match effect {
                Effect::Store(job) => self.jobs.push_back(job),
                Effect::StoreSoon(step) => {
                    let machine = &self.machine;
                    let (jid, settings, load) = (&machine.jid, &machine.settings, Load { waiting: 0, used: 0 });
                    let facts = Facts { jid, settings, routes: &self.routes, now: self.now.wall, load };
                    self.db.write(|tx| step.apply(tx, &facts)).unwrap();
                }
                other => self.wanted.push(other),
            }
        }
    }

    fn perform(&self, job: &Job) -> Answer {
        let machine = &self.machine;
        let (jid, settings, load) = (&machine.jid, &machine.settings, Load { waiting: 0, used: 0 });
        let facts = Facts { jid, settings, routes: &self.routes, now: self.now.wall, load };
        self.db.write(|tx| job.perform(tx, &facts)).unwrap().0
    }

    /// The store does its oldest job.
    #[track_caller]
    fn store(&mut self) {
        let job = self.jobs.pop_front().expect("a job");
        let answer = self.perform(&job);
        self.feed(Event::Store(answer));
    }

    /// The store fails at its oldest job.
    #[track_caller]
    fn store_fails(&mut self) {
        let job = self.jobs.pop_front().expect("a job");
        self.feed(Event::Store(job.failed(StoreError::Full { path: "store".into() })));
    }

    fn store_all(&mut self) {
        while !self.jobs.is_empty() {
            self.store();
        }
    }

    fn say(&mut self, id: &str) {
        let new = NewMessage {
            jid: house::jid("a"),
            platform_id: id.into(),
            sender: "ann".into(),
            sender_name: "Ann".into(),
            text: "hello".into(),
            attachments: Vec::new(),
            quoted: None,
            sent_at: self.now.wall,
        };
        self.db.write(|tx| inbound::insert(tx, &new, Role::Trigger, self.now.wall)).unwrap();
        self.feed(Event::Wake);
    }

    /// A message arrives, and the store is about to give it to a new run.
    fn taking(&mut self) {
        self.say("1");
        self.store_all();
        assert!(self.wants(|effect| matches!(effect, Effect::AskForSlot(Lane::Chat))));
        self.feed(Event::Slot(Lane::Chat, 1));
        self.store();
        assert!(matches!(self.jobs.front(), Some(Job::TakeMessages(_))));
    }

    /// A run is live and works on the first message.
    fn live(&mut self) -> RunId {
        self.taking();
        self.store_all();
        assert!(self.wants(|effect| matches!(effect, Effect::Open(Lane::Chat, _))));
        let opened = Opened { provider: "guide", answering: Answering::default(), session: None };
        self.feed(Event::Opened(Lane::Chat, Ok(opened)));
        self.store_all();
        self.machine.chat.run().unwrap().id
    }

    /// The agent answers its prompt.
    fn answers(&mut self) {
        let output = crate::container::run::output::parse(br#"{"status":"success","result":"yes"}"#).unwrap();
        let settled = Some(Settled { prompt: true, ..Settled::default() });
        let output = AgentOutput::Output { output: Box::new(output), settled, open: false };
        self.feed(Event::Outputs(Lane::Chat, vec![output]));
    }

    /// The live run ends.
    fn ends(&mut self, state: RunState) {
        self.feed(Event::Ended(Lane::Chat, Some(Box::new(Outcome { state, error: None, ..Outcome::unknown() }))));
        self.feed(Event::Cleared(Lane::Chat));
    }

    fn wants(&self, what: impl Fn(&Effect) -> bool) -> bool {
        self.wanted.iter().any(what)
    }

    fn answered(&self, ask: AskId) -> Option<bool> {
        self.wanted.iter().find_map(|effect| match effect {
            Effect::Answer(to, yes) if *to == ask => Some(*yes),
            _ => None,
        })
    }

    fn messages(&self) -> Vec<String> {
        self.db.read(|db| {
            let mut rows = db.prepare("SELECT state FROM inbound ORDER BY seq")?;
            let states = rows.query_map([], |row| row.get(0))?;
            Ok(states.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the states of turns, as followers of the chat see them.
    fn turns(&self) -> Vec<String> {
        self.db.read(|db| {
            let mut rows = db.prepare(
                "SELECT body ->> 'state' || ' ' || (body ->> 'throughSeq') FROM events WHERE name = 'turn' ORDER BY seq",
            )?;
            let states = rows.query_map([], |row| row.get(0))?;
            Ok(states.collect::<Result<_, _>>()?)
        })
    }
}

#[test]
fn stop_takes_back_messages_on_their_way_to_a_run() {
    let mut hand = Hand::new();
    hand.taking();
    hand.feed(Event::Stop(AskId(1)));
    hand.store_all();
    assert_eq!(hand.messages(), ["cancelled"]);
    assert_eq!(hand.turns(), ["started 1", "cancelled 1"]);
    assert_eq!(hand.answered(AskId(1)), Some(true));
    assert!(!hand.wants(|effect| matches!(effect, Effect::Open(..))), "nobody wants its room");
    assert!(hand.machine.is_idle());
}

#[test]
fn stop_run_takes_back_a_follow_up_on_its_way() {
    let mut hand = Hand::new();
    let run = hand.live();
    hand.say("2");
    hand.store();
    assert!(matches!(hand.jobs.front(), Some(Job::FollowUp { .. })));
    hand.feed(Event::StopRun(run, AskId(1)));
    hand.store_all();
    assert_eq!(hand.answered(AskId(1)), Some(true));
    hand.ends(RunState::Stopped);
    assert_eq!(hand.machine.chat.run().map(|row| row.id), Some(run));
    hand.feed(Event::StopRun(run, AskId(2)));
    assert_eq!(hand.answered(AskId(2)), Some(false), "it is over, and only not yet stored");
    hand.store_all();
    assert_eq!(hand.messages(), ["cancelled", "cancelled"]);
    assert_eq!(hand.turns(), ["started 1", "started 2", "cancelled 1", "cancelled 2"]);
    assert!(hand.machine.is_idle());
}

#[test]
fn eviction_during_a_store_job_closes_the_room_afterwards() {
    // While its last output is being stored.
    let mut hand = Hand::new();
    hand.live();
    hand.answers();
    hand.feed(Event::Evicted(1));
    assert!(!hand.wants(|effect| matches!(effect, Effect::Close(_))));
    hand.store_all();
    assert!(hand.wants(|effect| matches!(effect, Effect::Close(Lane::Chat))));

    // While a follow-up is being given, at which the store then fails.
    let mut hand = Hand::new();
    hand.live();
    hand.answers();
    hand.store_all();
    hand.say("2");
    hand.store();
    hand.feed(Event::Evicted(1));
    assert!(!hand.wants(|effect| matches!(effect, Effect::Close(_))));
    hand.store_fails();
    assert!(hand.wants(|effect| matches!(effect, Effect::Close(Lane::Chat))));

    // With the follow-up it has work: the slots ask another run, or ask again later.
    let mut hand = Hand::new();
    hand.live();
    hand.answers();
    hand.store_all();
    hand.say("2");
    hand.store();
    hand.feed(Event::Evicted(1));
    hand.store_all();
    assert!(hand.wants(|effect| matches!(effect, Effect::Deliver(..))));
    assert!(!hand.wants(|effect| matches!(effect, Effect::Close(_))));
}

#[test]
fn messages_that_have_waited_enough_when_a_slow_look_is_over_are_answered() {
    let mut hand = Hand::new();
    let mut settings = (*hand.machine.settings).clone();
    settings.settle = Duration::from_secs(2);
    hand.machine.settings = Arc::new(settings);
    hand.say("1");
    let job = hand.jobs.pop_front().unwrap();
    let answer = hand.perform(&job);
    // The disk was slow.
    hand.now.monotonic += Duration::from_secs(3);
    hand.now.wall += Duration::from_secs(3);
    hand.feed(Event::Store(answer));
    assert!(hand.machine.next_timer().is_some_and(|at| at <= hand.now.monotonic));
    hand.feed(Event::Timer);
    hand.store_all();
    assert!(hand.wants(|effect| matches!(effect, Effect::AskForSlot(Lane::Chat))));
}

#[test]
fn a_run_ends_with_its_group_though_the_same_name_is_registered_again_at_once() {
    let mut hand = Hand::new();
    hand.live();
    let (folder, now) = ("a".parse().unwrap(), hand.now.wall);
    let again = Group { created_at: now, ..house::group("a") };
    hand.db.write(|tx| groups::remove(tx, &folder, now).and_then(|()| groups::register(tx, &again))).unwrap();
    hand.feed(Event::Wake);
    hand.store_all();
    assert!(hand.wants(|effect| matches!(effect, Effect::End(Lane::Chat, EndReason::Stopped))));
}

#[test]
fn a_command_whose_job_cannot_be_done_is_over() {
    let mut hand = Hand::new();
    let new = NewMessage {
        jid: house::jid("a"),
        platform_id: "1".into(),
        sender: "ann".into(),
        sender_name: "Ann".into(),
        text: "/stop".into(),
        attachments: Vec::new(),
        quoted: None,
        sent_at: hand.now.wall,
    };
    hand.db.write(|tx| inbound::insert(tx, &new, Role::Command, hand.now.wall)).unwrap();
    hand.feed(Event::Wake);
    hand.store();
    let stop = hand.jobs.pop_front().unwrap();
    let (rest, command) = stop.without_its_command().unwrap();
    assert_eq!(command, 1);
    hand.jobs.push_front(rest);
    hand.store_all();
    assert_eq!(hand.messages(), ["done"]);
    assert!(hand.machine.is_idle(), "and does not come back");
    assert!(Job::Look.without_its_command().is_none());
    assert!(matches!(Job::Look.failed(StoreError::Closed), Answer::Looked(Err(_))));
}
