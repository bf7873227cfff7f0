//! Rooms of the virtual world: the engine that opens them, and the containers.

use super::agent::{Act, Asked, Came, NOT_STARTED, Room};
use super::world::{At, MIN, MS, Opening, REST, S, Said, What, World};
use crate::container::run::Order;
use crate::container::run::state as run;
use crate::container::run::state::Phase;
use crate::container::run::timers::Limits;
use crate::dispatch::event::{Event, Opened};
use crate::dispatch::fallback::Answering;
use crate::dispatch::start::StartRequest;
use crate::domain::ids::RunId;
use crate::domain::run::Lane;

impl World<'_> {
    pub(super) fn open(&mut self, index: usize, lane: Lane, request: &StartRequest) {
        let asked = if let Some(batch) = &request.batch {
            Asked::Messages(batch.messages.iter().map(|message| message.seq).collect())
        } else {
            let row = self.actors[index].machine.as_ref().and_then(|machine| machine.lane_ref(lane).run().cloned());
            let Some((task, due)) = row.and_then(|row| row.task_id.zip(row.due)) else {
                return self.breaks(format!("g{index}: a run for nothing"));
            };
            Asked::Task(task, due)
        };
        let settings = &self.settings;
        let limits = Limits::new(settings.container_timeout, settings.idle_timeout, settings.turn_limit, request.task);
        self.number += 1;
        let number = self.number;
        let opening = Opening { number, run: request.run, asked, limits, cancelled: false };
        self.hands(index, lane).at = At::Opening(Box::new(opening));
        let takes = if self.rng.chance(50) { self.rng.time(S, 5 * MIN) } else { self.rng.time(50 * MS, S) };
        self.plan(takes, What::Opened(index, lane, number));
    }

    pub(super) fn opened(&mut self, index: usize, lane: Lane, number: u64) {
        let now = self.now().monotonic;
        let fails = !self.calm && self.rng.chance(80);
        let hands = &mut self.actors[index].hands[lane as usize];
        let At::Opening(opening) = &hands.at else { return };
        if opening.number != number {
            return;
        }
        // The order to cancel may come too late.
        let late = opening.cancelled && self.rng.chance(300);
        if fails || opening.cancelled && !late {
            hands.at = At::Nothing;
            let why = if fails { "the engine has trouble" } else { "the room is not needed any more" };
            return self.apply(index, Event::Opened(lane, Err(why.into())));
        }
        let (run, asked) = (opening.run, opening.asked.clone());
        let room = Room::new(run, asked.clone(), opening.limits, now, &mut self.rng);
        hands.at = At::Live(Box::new(room));
        let opened = Opened {
            provider: "guide",
            answering: Answering::default(),
            session: self.rng.chance(500).then(|| "a".to_owned()),
        };
        if !self.calm && self.rng.chance(30) {
            // The client is there, but the engine cannot start the container.
            self.plan(50 * MS, What::Gone(index, lane, run, Some(NOT_STARTED)));
            return self.apply(index, Event::Opened(lane, Ok(opened)));
        }
        if let Asked::Task(task, due) = asked
            && !self.fired.insert((task.clone(), due))
        {
            self.breaks(format!("task {task} of {due} reaches an agent twice"));
        }
        let thinks = self.rng.time(10 * MS, MIN);
        self.plan(thinks, What::Act(index, lane, run));
        if let Some(room) = self.room(index, lane, run) {
            room.acts_at = now + thinks;
        }
        self.come(index, lane, Came::default());
        self.apply(index, Event::Opened(lane, Ok(opened)));
    }

    pub(super) fn order(&mut self, index: usize, lane: Lane, order: Order) {
        let now = self.now().monotonic;
        if let At::Live(room) = &mut self.hands(index, lane).at {
            let came = room.apply(run::Event::Order(Some(order)), now);
            self.come(index, lane, came);
        }
    }

    /// Carries out the consequences of an event in a room.
    pub(super) fn come(&mut self, index: usize, lane: Lane, came: Came) {
        let now = self.now().monotonic;
        let hands = self.hands(index, lane);
        if !came.items.is_empty() {
            hands.pipe.push_back(Said::Outputs(came.items));
        }
        let At::Live(room) = &hands.at else { return };
        let (run, timer) = (room.run, room.state.next_timer());
        if came.end.is_some() {
            let grace = self.rng.time(MS, 12 * S);
            self.plan(grace, What::Gone(index, lane, run, None));
        } else {
            self.plan(2 * MS, What::Act(index, lane, run));
        }
        if let Some(at) = timer {
            self.plan(at.saturating_duration_since(now), What::RoomTimer(index, lane, run));
        }
    }

    pub(super) fn room(&mut self, index: usize, lane: Lane, run: RunId) -> Option<&mut Room> {
        match &mut self.hands(index, lane).at {
            At::Live(room) if room.run == run => Some(room),
            _ => None,
        }
    }

    pub(super) fn act(&mut self, index: usize, lane: Lane, run: RunId) {
        let (now, calm) = (self.now().monotonic, self.calm);
        let mut rng = self.rng.clone();
        let Some(room) = self.room(index, lane, run).filter(|room| !room.is_ending() && room.acts_at <= now) else {
            return;
        };
        match room.act(calm, &mut rng) {
            Act::Waits => {}
            Act::Exits(code) => {
                // After its exit the agent prints nothing.
                room.acts_at = now + REST;
                self.plan(MS, What::Gone(index, lane, run, Some(code)));
            }
            Act::Prints(printed) => {
                let thinks = rng.time(10 * MS, 3 * MIN);
                room.acts_at = now + thinks;
                let came: Vec<Came> = printed.into_iter().map(|one| room.hear(one, now)).collect();
                for one in came {
                    self.come(index, lane, one);
                }
                self.plan(thinks, What::Act(index, lane, run));
            }
        }
        self.rng = rng;
        self.hear(index);
    }

    /// Passes the output in the pipes to the actor.
    pub(super) fn hear(&mut self, index: usize) {
        if !self.dead && !self.actors[index].down {
            self.listen(index);
            self.next_job(index);
        }
    }

    pub(super) fn room_timer(&mut self, index: usize, lane: Lane, run: RunId) {
        let now = self.now().monotonic;
        let Some(room) = self.room(index, lane, run).filter(|room| !room.is_ending()) else { return };
        if room.state.next_timer().is_some_and(|at| at <= now) {
            let came = room.apply(run::Event::Timer, now);
            self.come(index, lane, came);
        }
    }

    /// Handles the end of a container, by itself with a code, or ended by the host.
    pub(super) fn gone(&mut self, index: usize, lane: Lane, run: RunId, code: Option<i32>) {
        let now = self.now().monotonic;
        let Some(room) = self.room(index, lane, run) else { return };
        if matches!(room.state.phase(), Phase::Drained { .. }) {
            return;
        }
        let outcome = Box::new(room.outcome(code, now));
        self.hands(index, lane).pipe.push_back(Said::Ended(outcome));
        self.hear(index);
    }
}
