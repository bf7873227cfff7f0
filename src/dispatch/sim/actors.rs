//! Actors of the virtual world: each carries out its machine's effects, as the real one does.

use std::fmt::Write;
use std::time::Duration;

use super::agent::Asked;
use super::world::{At, Hands, MS, PATIENCE, Said, What, World};
use crate::container::run::Order;
use crate::dispatch::event::{Effect, Event};
use crate::dispatch::jobs::{Answer, Facts, Job};
use crate::dispatch::machine::Machine;
use crate::domain::ids::RunId;
use crate::domain::run::Lane;
use crate::store::{StoreError, inbound};

impl World<'_> {
    pub(super) fn hands(&mut self, index: usize, lane: Lane) -> &mut Hands {
        &mut self.actors[index].hands[lane as usize]
    }

    pub(super) fn each_machine(&mut self, event: fn() -> Event) {
        for index in 0..self.actors.len() {
            if self.actors[index].machine.is_some() {
                self.apply(index, event());
            }
        }
    }

    pub(super) fn apply(&mut self, index: usize, event: Event) {
        if self.dead || self.actors[index].down {
            return;
        }
        self.feed(index, event);
        self.listen(index);
        while let Ok(ticket) = self.actors[index].evictions.try_recv() {
            self.feed(index, Event::Evicted(ticket));
        }
        self.grant();
        let now = self.now();
        let actor = &mut self.actors[index];
        let Some(machine) = &mut actor.machine else { return };
        if machine.is_idle() && actor.desk.is_empty() {
            actor.machine = None;
            return;
        }
        if let Some(at) = machine.next_timer() {
            let (wait, life) = (at.saturating_duration_since(now.monotonic), actor.life);
            self.plan(wait, What::Timer(index, life));
        }
    }

    /// Gives an event to the machine, and carries out its effects.
    pub(super) fn feed(&mut self, index: usize, event: Event) {
        let now = self.now();
        if self.actors[index].machine.is_none() {
            let (settings, jid) = (self.settings.clone(), self.actors[index].jid.clone());
            let mut machine = Machine::new(settings, jid, self.ids.clone(), self.routes.clone(), now);
            let mut effects = Vec::new();
            if let Some(hard) = self.shutting_down {
                effects = machine.apply(Event::Soft, now);
                if hard {
                    effects.extend(machine.apply(Event::Hard, now));
                }
            }
            self.actors[index].machine = Some(machine);
            for effect in effects {
                self.perform(index, effect);
            }
        }
        let Some(machine) = &mut self.actors[index].machine else { return };
        for effect in machine.apply(event, now) {
            self.perform(index, effect);
        }
        self.next_job(index);
    }

    /// Passes the runs' output to the machine.
    pub(super) fn listen(&mut self, index: usize) {
        while self.actors[index].desk.listens() && self.actors[index].machine.is_some() {
            let first = *self.rng.pick(&[Lane::Chat, Lane::Task]);
            let other = if first == Lane::Chat { Lane::Task } else { Lane::Chat };
            let Some((lane, said)) = [first, other].into_iter().find_map(|lane| {
                let said = self.hands(index, lane).pipe.pop_front()?;
                Some((lane, said))
            }) else {
                return;
            };
            self.actors[index].desk.hears();
            match said {
                Said::Outputs(items) => self.feed(index, Event::Outputs(lane, items)),
                Said::Ended(outcome) => {
                    self.hands(index, lane).at = At::Nothing;
                    self.feed(index, Event::Ended(lane, Some(outcome)));
                }
            }
        }
    }

    pub(super) fn next_job(&mut self, index: usize) {
        if let Some(job) = self.actors[index].desk.begin() {
            let life = self.actors[index].life;
            let looks_at_once = matches!(job, Job::Look) && self.rng.chance(500);
            self.actors[index].seen = looks_at_once.then(|| self.perform_job(index, &job).ok()).flatten();
            self.actors[index].job = Some(job);
            // Now and then a disk is slow.
            let most = if !self.calm && self.rng.chance(40) { 20_000 * MS } else { 5 * MS };
            let takes = self.rng.time(MS / 20, most);
            self.plan(takes, What::Job(index, life));
        }
    }

    pub(super) fn perform_job(&mut self, index: usize, job: &Job) -> Result<Answer, StoreError> {
        let (jid, now) = (self.actors[index].jid.clone(), self.now().wall);
        let (settings, routes, load) = (self.settings.clone(), self.routes.clone(), self.slots.load());
        let facts = Facts { jid: &jid, settings: &settings, routes: &routes, now, load };
        if matches!(job, Job::Look) {
            return Ok(self.db.read(|db| Job::look(db, &facts)));
        }
        let (answer, wakes) = self.db.write(|tx| job.perform(tx, &facts))?;
        self.wake(wakes);
        if let Job::Stop(_) = job {
            let taken_back: Vec<i64> = self.db.read(|db| {
                let mut rows = db.prepare_cached("SELECT seq FROM inbound WHERE jid = ?1 AND state = 'cancelled'")?;
                let seqs = rows.query_map([&jid], |row| row.get(0))?;
                Ok(seqs.collect::<Result<_, _>>()?)
            });
            self.taken_back.extend(taken_back);
        }
        if let (Job::FollowUp { run, .. }, Answer::FollowUp(Ok(Some(given)))) = (job, &answer) {
            self.give(index, *run, given.0.messages.iter().map(|message| message.seq).collect());
        }
        if let (Job::TakeMessages(of), Answer::Messages(Ok(Some(first)))) = (job, &answer) {
            self.give(index, of.row.id, first.batch.messages.iter().map(|message| message.seq).collect());
        }
        Ok(answer)
    }

    /// Notes that messages were given to a run. No earlier message may still wait.
    pub(super) fn give(&mut self, index: usize, run: RunId, seqs: Vec<i64>) {
        let (jid, last) = (self.actors[index].jid.clone(), seqs.iter().copied().max().unwrap_or(0));
        let earlier = self.db.read(|db| inbound::first_trigger(db, &jid));
        if let Some(earlier) = earlier.filter(|earlier| *earlier < last) {
            self.breaks(format!("{jid}: message {last} is given to run {run} before message {earlier}"));
        }
        for seq in seqs {
            self.given.entry(seq).or_default().push(run);
        }
    }

    pub(super) fn job_done(&mut self, index: usize) {
        let Some(job) = self.actors[index].job.take() else { return };
        let seen = self.actors[index].seen.take();
        let fails = self.at < self.store_back || (!self.calm && self.rng.chance(5));
        if fails && job.must_be_done() {
            self.actors[index].job = Some(job);
            let life = self.actors[index].life;
            return self.plan(500 * MS, What::Job(index, life));
        }
        let answer = if fails {
            job.failed(StoreError::Full { path: "store".into() })
        } else if let Some(seen) = seen {
            seen
        } else {
            match self.perform_job(index, &job) {
                Ok(answer) => answer,
                Err(error) => return self.breaks(format!("{job:?}: {error}")),
            }
        };
        if !self.calm && self.rng.chance(1) {
            return self.kill();
        }
        self.actors[index].desk.done();
        self.note(|| {
            let mut line = format!("g{index}: {answer:?}");
            line.truncate(line.char_indices().nth(160).map_or(line.len(), |(at, _)| at));
            line
        });
        self.apply(index, Event::Store(answer));
    }

    pub(super) fn timer(&mut self, index: usize) {
        let now = self.now().monotonic;
        let due = self.actors[index].machine.as_ref().and_then(Machine::next_timer);
        if due.is_some_and(|at| at <= now) {
            self.apply(index, Event::Timer);
        }
    }

    /// Handles the slots that the queue has granted.
    pub(super) fn grant(&mut self) {
        for index in 0..self.actors.len() {
            let life = self.actors[index].life;
            for lane in [Lane::Chat, Lane::Task] {
                let at = self.at;
                let hands = self.hands(index, lane);
                let At::Queue(queue) = &mut hands.at else { continue };
                if let Ok(slot) = queue.try_recv() {
                    (hands.slot, hands.at) = (Some(slot), At::Nothing);
                    let waited = at.saturating_sub(hands.waits_since.take().unwrap_or(at));
                    if waited > PATIENCE {
                        self.breaks(format!("g{index} waited {waited:?} for a container"));
                    }
                    self.plan(Duration::ZERO, What::Slot(index, lane, life));
                }
            }
        }
        for index in 0..self.actors.len() {
            // A run was asked to make room.
            if !self.actors[index].evictions.is_empty() {
                self.plan(Duration::ZERO, What::Wake(index));
            }
        }
    }

    pub(super) fn perform(&mut self, index: usize, effect: Effect) {
        self.note(|| {
            let mut line = String::new();
            let _ = write!(line, "g{index} -> {effect:?}");
            line.truncate(line.char_indices().nth(160).map_or(line.len(), |(at, _)| at));
            line
        });
        let (at, now) = (self.at, self.now().monotonic);
        match effect {
            Effect::Store(job) => self.actors[index].desk.push(job),
            Effect::StoreSoon(step) => {
                let (jid, wall) = (self.actors[index].jid.clone(), self.now().wall);
                let (settings, routes, load) = (self.settings.clone(), self.routes.clone(), self.slots.load());
                if self.at >= self.store_back {
                    self.write(|tx| {
                        step.apply(tx, &Facts { jid: &jid, settings: &settings, routes: &routes, now: wall, load })
                    });
                }
            }
            Effect::AskForSlot(lane) => {
                let queue = self.slots.request(self.actors[index].evict.clone());
                let hands = self.hands(index, lane);
                (hands.at, hands.waits_since) = (At::Queue(queue), Some(at));
            }
            Effect::FreeSlot(lane) => {
                let hands = self.hands(index, lane);
                if matches!(hands.at, At::Live(_) | At::Opening(_) | At::Clearing) {
                    let what = format!("g{index} gives a slot back whose room is there");
                    return self.breaks(what);
                }
                (hands.slot, hands.at, hands.waits_since) = (None, At::Nothing, None);
            }
            Effect::SetIdle(lane, idle) => {
                if let Some(slot) = &self.hands(index, lane).slot {
                    slot.set_idle(idle);
                }
            }
            Effect::Open(lane, request) => self.open(index, lane, &request),
            Effect::CancelOpening(lane) => {
                if let At::Opening(opening) = &mut self.hands(index, lane).at {
                    opening.cancelled = true;
                    let number = opening.number;
                    self.plan(MS, What::Opened(index, lane, number));
                }
            }
            Effect::Deliver(lane, input) => {
                let seqs = self.seqs_of_input(index, lane, &input.name);
                let written = self.calm || !self.rng.chance(10);
                if let At::Live(room) = &mut self.hands(index, lane).at {
                    let came = room.deliver(input.name, Asked::Messages(seqs), written, now);
                    self.come(index, lane, came);
                }
            }
            Effect::Close(lane) => self.order(index, lane, Order::Close),
            Effect::End(lane, reason) => self.order(index, lane, Order::End(reason)),
            Effect::Clear(lane, _) => {
                let (takes, life) = (self.rng.time(MS, 300 * MS), self.actors[index].life);
                self.hands(index, lane).at = At::Clearing;
                if self.hands(index, lane).slot.is_none() {
                    self.breaks(format!("g{index}: the slot is free while its room is cleared"));
                }
                self.plan(takes, What::Cleared(index, lane, life));
            }
            Effect::Typing(on) => self.typing[index] = on,
            Effect::ForgetImages | Effect::Answer(..) => {}
        }
    }

    pub(super) fn seqs_of_input(&mut self, index: usize, lane: Lane, name: &str) -> Vec<i64> {
        let At::Live(room) = &self.hands(index, lane).at else { return Vec::new() };
        let run = room.run;
        self.db.read(|db| {
            let mut rows =
                db.prepare_cached("SELECT seq FROM inbound WHERE run_id = ?1 AND input_name = ?2 ORDER BY seq")?;
            let seqs = rows.query_map((run, name), |row| row.get(0))?;
            Ok(seqs.collect::<Result<_, _>>()?)
        })
    }
}
