//! Trouble in the virtual world, and its end.

use chrono::TimeDelta;

use super::world::{At, Hands, MIN, MS, S, What, World};
use crate::dispatch::desk::Desk;
use crate::dispatch::event::Event;
use crate::dispatch::recover;
use crate::dispatch::recover::Means;
use crate::dispatch::slots::Slots;
use crate::domain::ids::DeliveryId;
use crate::domain::run::Lane;
use crate::domain::task::TaskStatus;
use crate::scheduler;
use crate::store::outbox::Route;
use crate::store::{Wake, tasks};

/// Counts the unfinished messages and runs of a host.
const UNDER_WAY: &str = "SELECT (SELECT count(*) FROM inbound WHERE state = 'in_flight')
    + (SELECT count(*) FROM runs WHERE state IN ('starting', 'running'))";

impl World<'_> {
    pub(super) fn trouble(&mut self) {
        if self.calm {
            return;
        }
        let next = self.soon(self.scale.trouble);
        self.plan(next, What::Trouble);
        if self.dead || self.shutting_down.is_some() {
            return;
        }
        match self.rng.below(10) {
            0..3 => {
                self.store_back = self.at + self.rng.time(10 * MS, 3 * MIN);
                self.note(|| "the store is out of order".into());
            }
            3..5 => {
                let hour = TimeDelta::hours(1);
                self.wall += *self.rng.pick(&[hour, -hour, hour * 2, TimeDelta::seconds(-5)]);
                self.note(|| "the clock is set".into());
                let life = self.life;
                self.plan(MS, What::Scheduler(life));
            }
            5..7 => {
                let index = self.rng.below(self.actors.len() as u64) as usize;
                self.panic(index);
            }
            7..9 => self.kill(),
            _ => {
                self.note(|| "the host is asked to end".into());
                self.shutting_down = Some(false);
                self.each_machine(|| Event::Soft);
                let (grace, life) = (self.rng.time(S, MIN), self.life);
                self.plan(grace, What::Hard(life));
            }
        }
    }

    pub(super) fn kill(&mut self) {
        self.note(|| "the host is killed".into());
        for index in 0..self.actors.len() {
            self.drop_actor(index);
            self.actors[index].down = false;
        }
        self.die();
        let (pause, life) = (self.rng.time(S, 5 * MIN), self.life);
        self.plan(pause, What::Start(life));
    }

    /// Drops an actor after a panic or its host's end. The store may still do its current job.
    pub(super) fn drop_actor(&mut self, index: usize) {
        if let Some(job) = self.actors[index].job.take()
            && self.at >= self.store_back
            && self.rng.chance(500)
        {
            // The answer is lost in either case.
            let _ = self.perform_job(index, &job);
        }
        let actor = &mut self.actors[index];
        actor.life += 1;
        actor.machine = None;
        (actor.desk, actor.seen) = (Desk::default(), None);
        actor.hands = [Hands::default(), Hands::default()];
        self.typing[index] = false;
    }

    pub(super) fn die(&mut self) {
        self.life += 1;
        self.dead = true;
        self.shutting_down = None;
        self.slots = Slots::new(self.limit);
    }

    pub(super) fn start_host(&mut self) {
        if !self.dead {
            // After an orderly shutdown all actors have ended, or the store failed the whole time.
            for index in 0..self.actors.len() {
                let actor = &self.actors[index];
                // A slow disk may still work on a job.
                let rests = actor.machine.is_none() || actor.job.is_some() || self.at < self.store_back + MIN;
                if !rests {
                    let machine = self.actors[index].machine.as_ref();
                    let lanes = machine.map(|machine| format!("{:?} {:?}", machine.chat, machine.task));
                    self.breaks(format!("a shutdown does not end: {lanes:?}"));
                }
                self.drop_actor(index);
                self.actors[index].down = false;
            }
            let left = self.db.read(|db| Ok(db.query_row(UNDER_WAY, [], |row| row.get::<_, i64>(0))?));
            if left > 0 && self.at >= self.store_back + MIN {
                self.breaks(format!("a shutdown leaves {left} messages and runs under way"));
            }
            self.die();
        }
        if self.at < self.store_back {
            let life = self.life;
            return self.plan(S, What::Start(life));
        }
        let (ids, now) = (self.ids.clone(), self.now().wall);
        let id = move || DeliveryId((ids.0)());
        let recovered = self.write(|tx| recover::recover(tx, &Means { now, id: &id, route: &|_| Route::Local }));
        self.dead = false;
        self.note(|| format!("the host starts: {recovered:?}"));
        for jid in recovered.map(|recovered| recovered.work).unwrap_or_default() {
            self.wake(vec![Wake::Group(jid)]);
        }
        self.wake(vec![Wake::Scheduler]);
    }

    pub(super) fn panic(&mut self, index: usize) {
        if self.actors[index].machine.is_none() || self.actors[index].down {
            return;
        }
        self.note(|| format!("the actor of g{index} panics"));
        self.drop_actor(index);
        self.actors[index].down = true;
        let life = self.life;
        self.plan(S, What::ActorBack(index, life));
        self.grant();
    }

    pub(super) fn actor_back(&mut self, index: usize) {
        if self.at < self.store_back {
            let life = self.life;
            return self.plan(S, What::ActorBack(index, life));
        }
        let (ids, now, jid) = (self.ids.clone(), self.now().wall, self.actors[index].jid.clone());
        let id = move || DeliveryId((ids.0)());
        self.write(|tx| recover::take_back(tx, &jid, &Means { now, id: &id, route: &|_| Route::Local }));
        self.actors[index].down = false;
        if !self.dead {
            self.plan(MS, What::Wake(index));
        }
    }

    pub(super) fn become_calm(&mut self) {
        self.calm = true;
        self.store_back = self.store_back.min(self.at);
        let all = self.db.read(|db| tasks::list(db, None, false));
        for mut task in all {
            (task.status, task.next_due) = (TaskStatus::Cancelled, None);
            self.write(|tx| tasks::update(tx, &task));
        }
        // Agents that hung continue.
        for index in 0..self.actors.len() {
            for lane in [Lane::Chat, Lane::Task] {
                let now = self.now().monotonic;
                if let At::Live(room) = &mut self.hands(index, lane).at {
                    room.acts_at = room.acts_at.min(now + S);
                    let run = room.run;
                    self.plan(S, What::Act(index, lane, run));
                }
            }
        }
    }

    pub(super) fn schedule(&mut self) {
        let (now, life) = (self.now().wall, self.life);
        if self.at < self.store_back {
            return self.plan(S, What::Scheduler(life));
        }
        while self.write(|tx| scheduler::fire_batch(tx, now, chrono_tz::UTC)).is_some_and(|fired| fired > 0) {}
        if let Some(next) = self.db.read(tasks::next_due) {
            let wait = (next - now).to_std().unwrap_or_default() + MS;
            self.plan(wait, What::Scheduler(life));
        }
    }
}
