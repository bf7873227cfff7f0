//! The virtual world: time, chance, people, the store's moods, the engine, and an actor for each group, which carries
//! out its machine's effects as the real one does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use ulid::Ulid;

use super::agent::{Asked, Room};
use super::rng::Rng;
use crate::config::settings::Settings;
use crate::container::run::Outcome;
use crate::container::run::timers::Limits;
use crate::dispatch::desk::Desk;
use crate::dispatch::event::{AgentOutput, Event};
use crate::dispatch::hold::Now;
use crate::dispatch::jobs::{Answer, Job};
use crate::dispatch::machine::{Ids, Machine};
use crate::dispatch::slots::{Slot, Slots, Ticket};
use crate::dispatch::steps::Routes;
use crate::dispatch::tests::house;
use crate::domain::clock::from_ms;
use crate::domain::ids::{ChatJid, RunId, TaskId};
use crate::domain::run::Lane;
use crate::domain::schedule::Schedule;
use crate::domain::task::{ContextMode, Missed, Task, TaskStatus};
use crate::store::memory::Memory;
use crate::store::outbox::Route;
use crate::store::{StoreError, Tx, TxResult, Wake, groups, tasks};

pub(super) const START: i64 = 1_767_225_600_000;
/// The time in which everything must come to rest after a history's end; the longest pause is a week.
pub(super) const REST: Duration = Duration::from_secs(20 * 86_400);
/// The longest time that a lane may wait for a container.
pub(super) const PATIENCE: Duration = Duration::from_secs(4 * 3600);

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const S: Duration = Duration::from_secs(1);
pub(super) const MIN: Duration = Duration::from_secs(60);

/// How much happens in a history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) groups: u64,
    pub(super) length: Duration,
    /// Mean time between a chat's messages.
    pub(super) between: Duration,
    /// Mean time between troubles.
    pub(super) trouble: Duration,
}

impl Scale {
    /// An eventful hour.
    pub(super) fn short() -> Self {
        Self { groups: 3, length: 50 * MIN, between: 6 * MIN, trouble: 4 * MIN }
    }

    /// A year of a family's chats.
    pub(super) fn year() -> Self {
        Self { groups: 3, length: 366 * 1440 * MIN, between: 240 * MIN, trouble: 720 * MIN }
    }
}

/// An event at its time. Events of an earlier life of an actor or a host are void.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Person(usize),
    More(usize),
    Trouble,
    Wake(usize),
    Slot(usize, Lane, u64),
    Job(usize, u64),
    Timer(usize, u64),
    Opened(usize, Lane, u64),
    Act(usize, Lane, RunId),
    RoomTimer(usize, Lane, RunId),
    Gone(usize, Lane, RunId, Option<i32>),
    Cleared(usize, Lane, u64),
    Scheduler(u64),
    ActorBack(usize, u64),
    Hard(u64),
    Start(u64),
    Calm,
}

pub(super) struct Actor {
    pub(super) jid: ChatJid,
    pub(super) machine: Option<Machine>,
    /// The number of this life.
    pub(super) life: u64,
    /// True between a panic and the replacement.
    pub(super) down: bool,
    pub(super) desk: Desk,
    /// The job that the store is doing.
    pub(super) job: Option<Job>,
    /// What a look that is under way has seen already: it reads at any time between its begin and its end.
    pub(super) seen: Option<Answer>,
    pub(super) hands: [Hands; 2],
    pub(super) evict: mpsc::UnboundedSender<Ticket>,
    pub(super) evictions: mpsc::UnboundedReceiver<Ticket>,
}

#[derive(Default)]
pub(super) struct Hands {
    pub(super) slot: Option<Slot>,
    pub(super) at: At,
    /// Output of the runs that the actor has not read.
    pub(super) pipe: VecDeque<Said>,
    pub(super) waits_since: Option<Duration>,
}

#[derive(Default)]
pub(super) enum At {
    #[default]
    Nothing,
    Queue(oneshot::Receiver<Slot>),
    Opening(Box<Opening>),
    Live(Box<Room>),
    Clearing,
}

pub(super) struct Opening {
    pub(super) number: u64,
    pub(super) run: RunId,
    pub(super) asked: Asked,
    pub(super) limits: Limits,
    pub(super) cancelled: bool,
}

pub(super) enum Said {
    Outputs(Vec<AgentOutput>),
    Ended(Box<Outcome>),
}

pub(super) struct World<'a> {
    pub(super) db: &'a Memory,
    pub(super) scale: Scale,
    pub(super) rng: Rng,
    pub(super) start: Instant,
    pub(super) at: Duration,
    /// The offset of the wall clock from the monotonic one.
    pub(super) wall: TimeDelta,
    pub(super) queue: BTreeMap<(Duration, u64), What>,
    pub(super) number: u64,
    pub(super) settings: Arc<Settings>,
    pub(super) ids: Ids,
    pub(super) id_time: Arc<Mutex<(u64, Rng)>>,
    pub(super) routes: Routes,
    pub(super) slots: Slots,
    pub(super) limit: usize,
    pub(super) actors: Vec<Actor>,
    /// The number of the host's life.
    pub(super) life: u64,
    pub(super) dead: bool,
    pub(super) shutting_down: Option<bool>,
    pub(super) store_back: Duration,
    pub(super) calm: bool,
    pub(super) accepted: u64,
    pub(super) events: u64,
    /// The runs that each message was given to.
    pub(super) given: BTreeMap<i64, Vec<RunId>>,
    /// Messages that were open when their group was removed. They count as failed, so a person may try them again, and a
    /// run or a job under way may have answered them meanwhile.
    pub(super) orphaned: BTreeSet<i64>,
    /// Messages that `/stop` took back.
    pub(super) taken_back: BTreeSet<i64>,
    /// Firings that reached an agent.
    pub(super) fired: BTreeSet<(TaskId, DateTime<Utc>)>,
    pub(super) typing: Vec<bool>,
    /// Messages of groups that were removed, or failed once and were tried again by a person.
    pub(super) broken: Option<String>,
    pub(super) traced: Option<bool>,
    pub(super) trace: Vec<String>,
}

impl<'a> World<'a> {
    pub(super) fn new(db: &'a Memory, seed: u64, scale: Scale) -> Self {
        let mut rng = Rng::new(seed);
        let mut settings = crate::api::tests::settings("/nowhere".as_ref());
        settings.settle = *rng.pick(&[Duration::ZERO, Duration::ZERO, 2 * S]);
        settings.turn_limit = 20 * MIN;
        // Rooms that are idle for long do not close by themselves: they must be asked.
        settings.idle_timeout = 720 * MIN;
        settings.container_timeout = 15 * MIN;
        let limit = 1 + rng.below(3) as usize;
        settings.max_containers = limit;
        let id_time = Arc::new(Mutex::new((START as u64, Rng::new(seed ^ 1))));
        let clock = id_time.clone();
        let ids = Ids(Arc::new(move || {
            let mut clock = clock.lock().unwrap();
            Ulid::from_parts(clock.0, clock.1.next().into())
        }));
        let mut world = Self {
            db,
            scale,
            start: Instant::now(),
            at: Duration::ZERO,
            wall: TimeDelta::zero(),
            queue: BTreeMap::new(),
            number: 0,
            settings: Arc::new(settings),
            ids,
            id_time,
            routes: Arc::new(|_| Route::Local),
            slots: Slots::new(limit),
            limit,
            actors: Vec::new(),
            life: 0,
            dead: false,
            shutting_down: None,
            store_back: Duration::ZERO,
            calm: false,
            accepted: 0,
            events: 0,
            given: BTreeMap::new(),
            taken_back: BTreeSet::new(),
            orphaned: BTreeSet::new(),
            fired: BTreeSet::new(),
            typing: Vec::new(),
            broken: None,
            traced: None,
            trace: Vec::new(),
            rng,
        };
        let groups = 1 + world.rng.below(scale.groups);
        for index in 0..groups as usize {
            world.add_group(index);
        }
        let trouble = world.soon(scale.trouble);
        world.plan(trouble, What::Trouble);
        world.plan(scale.length, What::Calm);
        world
    }

    /// Keeps a trace, and prints it if asked to.
    pub(super) fn traces(&mut self, print: bool) {
        self.traced = Some(print);
    }

    pub(super) fn since_start(&self) -> Duration {
        self.at
    }

    pub(super) fn is_at_rest(&self) -> Result<(), String> {
        for actor in &self.actors {
            if let Some(machine) = &actor.machine {
                let timers: Vec<_> = machine.timers().collect();
                return Err(format!(
                    "{} is not at rest: {:?}, {:?}, {timers:?}",
                    actor.jid, machine.chat, machine.task
                ));
            }
        }
        let load = self.slots.load();
        if (load.used, load.waiting) != (0, 0) {
            return Err(format!("slots are in use: {load:?}"));
        }
        Ok(())
    }

    pub(super) fn add_group(&mut self, index: usize) {
        let folder = format!("g{index}");
        let mut group = house::group(&folder);
        group.is_main = index == 0;
        self.write(|tx| groups::register(tx, &group));
        let (evict, evictions) = mpsc::unbounded_channel();
        self.actors.push(Actor {
            jid: group.jid.clone(),
            machine: None,
            life: 0,
            down: false,
            job: None,
            seen: None,
            desk: Desk::default(),
            hands: [Hands::default(), Hands::default()],
            evict,
            evictions,
        });
        self.typing.push(false);
        for number in 0..self.rng.below(3) {
            self.add_task(index, number);
        }
        let first = self.soon(self.scale.between);
        self.plan(first, What::Person(index));
    }

    pub(super) fn add_task(&mut self, index: usize, number: u64) {
        let every = 600_000 + self.rng.below(40) * 60_000;
        let every = if self.scale.length > 1440 * MIN { every * 24 } else { every };
        let now = self.now().wall;
        let task = Task {
            id: format!("t{index}-{number}").parse().unwrap(),
            folder: format!("g{index}").parse().unwrap(),
            jid: self.actors[index].jid.clone(),
            prompt: "do it".into(),
            schedule: Schedule::Interval(every),
            timezone: None,
            context_mode: *self.rng.pick(&[ContextMode::Group, ContextMode::Isolated]),
            missed: *self.rng.pick(&[Missed::Run, Missed::Skip]),
            status: TaskStatus::Active,
            next_due: Some(now + TimeDelta::milliseconds(every as i64)),
            anchor: now,
            created_at: now,
        };
        self.write(|tx| tasks::insert(tx, &task));
    }

    pub(super) fn now(&self) -> Now {
        let at = TimeDelta::from_std(self.at).unwrap();
        Now { monotonic: self.start + self.at, wall: from_ms(START) + at + self.wall }
    }

    pub(super) fn soon(&mut self, mean: Duration) -> Duration {
        self.rng.time(MS, mean * 3)
    }

    pub(super) fn plan(&mut self, after: Duration, what: What) {
        self.number += 1;
        self.queue.insert((self.at + after, self.number), what);
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(print) = self.traced {
            let line = format!("{:>14.6} {}", self.at.as_secs_f64(), line());
            if print {
                println!("{line}");
            }
            self.trace.push(line);
        }
    }

    pub(super) fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Writes to the store outside any actor, and wakes the chats concerned. The store must work.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&mut Tx<'_>) -> TxResult<T>) -> Option<T> {
        match self.db.write(work) {
            Ok((value, wakes)) => {
                self.wake(wakes);
                Some(value)
            }
            Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => None,
            Err(error) => {
                self.breaks(format!("the store: {error}"));
                None
            }
        }
    }

    pub(super) fn wake(&mut self, wakes: Vec<Wake>) {
        for wake in wakes {
            match wake {
                Wake::Group(jid) => {
                    if let Some(index) = self.actors.iter().position(|actor| actor.jid == jid) {
                        self.plan(MS / 10, What::Wake(index));
                    }
                }
                Wake::Scheduler => {
                    let life = self.life;
                    self.plan(MS / 10, What::Scheduler(life));
                }
                Wake::Outbox | Wake::Snapshots | Wake::Registered(_) => {}
            }
        }
    }

    /// Runs the history to its end.
    pub(super) fn run(&mut self) {
        while let Some(((at, _), what)) = self.queue.pop_first() {
            self.at = at;
            if self.at > self.scale.length + REST {
                return self.breaks("it does not come to rest".into());
            }
            self.events += 1;
            self.id_time.lock().unwrap().0 = self.now().wall.timestamp_millis() as u64;
            self.note(|| format!("{what:?}"));
            self.happen(what);
            self.check_rooms();
            if self.broken.is_some() {
                return;
            }
        }
    }

    pub(super) fn happen(&mut self, what: What) {
        match what {
            What::Person(index) => self.person(index),
            What::More(index) => self.writes(index),
            What::Trouble => self.trouble(),
            What::Calm => self.become_calm(),
            What::Start(life) if life == self.life => self.start_host(),
            What::Hard(life) if life == self.life && !self.dead => {
                self.shutting_down = Some(true);
                self.each_machine(|| Event::Hard);
                // After the grace of a shutdown every run ends within seconds, and then the host exits.
                self.plan(60 * S, What::Start(life));
            }
            What::Scheduler(life) if life == self.life && !self.dead => self.schedule(),
            What::ActorBack(index, life) if life == self.life => self.actor_back(index),
            What::Wake(index) if !self.dead && !self.actors[index].down => self.apply(index, Event::Wake),
            What::Slot(index, lane, life) if life == self.actors[index].life => {
                if let Some(slot) = &self.hands(index, lane).slot {
                    let ticket = slot.ticket();
                    self.apply(index, Event::Slot(lane, ticket));
                }
            }
            What::Job(index, life) if life == self.actors[index].life => self.job_done(index),
            What::Timer(index, life) if life == self.actors[index].life => self.timer(index),
            What::Opened(index, lane, number) => self.opened(index, lane, number),
            What::Act(index, lane, run) => self.act(index, lane, run),
            What::RoomTimer(index, lane, run) => self.room_timer(index, lane, run),
            What::Gone(index, lane, run, code) => self.gone(index, lane, run, code),
            What::Cleared(index, lane, life) if life == self.actors[index].life => {
                self.hands(index, lane).at = At::Nothing;
                self.apply(index, Event::Cleared(lane));
            }
            _ => {}
        }
    }

    /// Checks that there are never more rooms than slots.
    pub(super) fn check_rooms(&mut self) {
        let rooms = self.actors.iter().flat_map(|actor| &actor.hands);
        let rooms = rooms.filter(|hands| matches!(hands.at, At::Opening(_) | At::Live(_))).count();
        let load = self.slots.load();
        if rooms > self.limit || load.used > self.limit {
            self.breaks(format!("{rooms} rooms and {load:?} where {} are allowed", self.limit));
        }
        let at = self.at;
        let waits = self.actors.iter().flat_map(|actor| &actor.hands).filter_map(|hands| hands.waits_since);
        if let Some(longest) = waits.map(|since| at.saturating_sub(since)).max().filter(|waited| *waited > PATIENCE) {
            self.breaks(format!("somebody waits {longest:?} for a container"));
        }
    }
}
