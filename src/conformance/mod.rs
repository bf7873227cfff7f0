//! The check of an image against the protocol between host and agent. It runs the image as the host does (the same
//! command line, mounts, decoder and ending) in a temporary installation, and judges the observations.
//!
//! [`observe`] makes the observations, [`checks::judge`] judges them. Neither needs a store or a running host.

pub mod checks;
mod desk;
mod house;
mod room;
pub mod seen;
mod tap;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use secrecy::SecretString;

use crate::config::settings::Settings;
use crate::container::engine::{ContainerEngine, EngineError};
use crate::container::run::orphans;
use crate::container::run::outcome::EndReason;
use house::House;
use room::{Ended, Room};
use seen::{Closing, Long, Requests, Seen, Signalled, Why};

/// The time limit for an exit after `_close`, counted from the answer.
const CLOSE: Duration = Duration::from_secs(25);
/// The time limit for the end of a container that was stopped.
const END: Duration = Duration::from_secs(30);
/// The shortest time limit of the turn of `--long`.
const LONG: Duration = Duration::from_secs(300);
/// The number of searches for containers after an interruption: an engine may show one a moment later.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// The options of the check.
#[derive(Debug, Clone)]
pub struct Options {
    /// The image to check.
    pub image: String,
    /// The first prompt.
    pub say: String,
    /// A prompt that makes the agent write an IPC file.
    pub ipc: Option<String>,
    /// A prompt whose turn takes over a minute.
    pub long: Option<String>,
    /// True if the agent gets the keys of `.env` and the network.
    pub secrets: bool,
    /// The time limit of each wait.
    pub timeout: Duration,
}

/// Runs the image through all steps and returns the observations, or None if `interrupted` ended it early. Its
/// containers are removed in any case.
pub async fn observe(
    engine: Arc<dyn ContainerEngine>,
    settings: &Settings,
    options: Options,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Option<Seen>> {
    let house = House::build(engine.clone(), settings, options)?;
    let found = tokio::select! {
        seen = sequence(&house) => seen.map(Some),
        () = interrupted => Ok(None),
    };
    let cleared = clear(&*engine, house.instance(), matches!(found, Ok(Some(_)))).await;
    tokio::task::spawn_blocking(move || house.demolish()).await?;
    cleared.context("removing the containers of the check")?;
    found
}

/// Asks for one answer with these keys instead of those of `.env`, from the provider of the settings. Returns None if
/// it was interrupted; no container is left in any case.
pub async fn first_answer(
    engine: Arc<dyn ContainerEngine>,
    settings: &Settings,
    options: Options,
    secrets: BTreeMap<String, SecretString>,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Option<Result<(), Why>>> {
    let house = House::build(engine.clone(), settings, options)?.with_secrets(secrets);
    let ask = async {
        let mut room = house.open(None).await?;
        let answer = room.turn(house.options().timeout).await;
        room.leave(EndReason::Stopped, END).await;
        anyhow::Ok(answer.map(|_| ()))
    };
    let found = tokio::select! {
        answer = ask => answer.map(Some),
        () = interrupted => Ok(None),
    };
    let cleared = clear(&*engine, house.instance(), matches!(found, Ok(Some(_)))).await;
    tokio::task::spawn_blocking(move || house.demolish()).await?;
    cleared.context("removing the containers of the check")?;
    found
}

/// Removes the containers that are left. If the steps were interrupted, it searches several times, because a
/// container may just be starting.
async fn clear(engine: &dyn ContainerEngine, instance: &str, whole: bool) -> Result<(), EngineError> {
    for _ in 0..LOOKS {
        if orphans::clear(engine, instance).await? == 0 && whole {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn sequence(house: &House) -> anyhow::Result<Seen> {
    let options = house.options();
    let mut seen = Seen { uid: house.user().uid, timeout: options.timeout, ..Seen::default() };
    let mut room = house.open(None).await?;
    seen.first = room.turn(options.timeout).await;
    let Ok(first) = &seen.first else {
        seen.hear(&room.leave(EndReason::Stopped, END).await);
        if seen.frames == 0 && seen.stray.is_none() && House::may_be_another() {
            seen.as_node = Some(answers_as_node(house).await?);
        }
        return Ok(seen);
    };
    let session = first.session.clone();
    follow_up(&mut room, options.timeout, &mut seen).await;
    let ended = closing(room, options.timeout, &mut seen).await;
    seen.hear(&ended);
    let mut room = house.open(session.clone()).await?;
    seen.session = session;
    seen.again = Some(room.turn(options.timeout).await);
    if matches!(seen.again, Some(Ok(_))) {
        requests(house, &mut room, &mut seen).await;
        long(house, &mut room, &mut seen).await;
    }
    // An agent that exits after its answer ends before any signal.
    let stays = !matches!(seen.follow, Some(seen::Follow { answer: Err(Why::Ended(_)), .. }));
    let alive = room.alive() && stays;
    let start = Instant::now();
    let ended = room.leave(if alive { EndReason::HardTimeout } else { EndReason::Stopped }, END).await;
    if alive {
        seen.signal = Some(Signalled { took: start.elapsed(), code: ended.code });
    }
    seen.hear(&ended);
    seen.asked = house.asked();
    seen.partial = house.partial();
    seen.results_read = house.results_read();
    seen.snapshots_read = house.snapshots_read();
    seen.wrote = house.wrote();
    Ok(seen)
}

/// Repeats the first run as the user that most images have.
async fn answers_as_node(house: &House) -> anyhow::Result<bool> {
    let mut room = house.open_as_node().await?;
    let answered = room.turn(house.options().timeout).await.is_ok();
    room.leave(EndReason::Stopped, END).await;
    Ok(answered)
}

async fn follow_up(room: &mut Room, timeout: Duration, seen: &mut Seen) {
    let name = room.deliver();
    let answer = room.turn(timeout).await;
    let removed = room.removed(&name, &answer);
    seen.follow = Some(seen::Follow { name, answer, removed });
}

/// Writes a follow-up and `_close` right after it; only `_close` if the agent takes no follow-ups.
async fn closing(mut room: Room, timeout: Duration, seen: &mut Seen) -> Ended {
    if !room.alive() {
        return room.leave(EndReason::Stopped, END).await;
    }
    let takes = seen.follow.as_ref().is_some_and(|follow| follow.answer.is_ok());
    let name = takes.then(|| room.deliver());
    room.close();
    let answer = match &name {
        Some(_) => Some(room.turn(timeout).await),
        None => None,
    };
    let start = Instant::now();
    let by_itself = room.end(CLOSE).await;
    let took = start.elapsed();
    let removed = name.as_deref().zip(answer.as_ref()).is_some_and(|(name, answer)| room.removed(name, answer));
    let ended = room.leave(EndReason::Stopped, END).await;
    let code = if by_itself { ended.code } else { None };
    seen.closing = Some(Closing { answer, removed, by_itself, code, took, why: ended.why.clone() });
    ended
}

async fn requests(house: &House, room: &mut Room, seen: &mut Seen) {
    let Some(prompt) = &house.options().ipc else { return };
    room.say(prompt);
    seen.requests = Some(Requests { answer: room.turn(house.options().timeout).await });
}

async fn long(house: &House, room: &mut Room, seen: &mut Seen) {
    let Some(prompt) = &house.options().long else { return };
    if !room.alive() {
        return;
    }
    let before = room.heartbeats();
    let start = Instant::now();
    room.say(prompt);
    let answer = room.turn(house.options().timeout.max(LONG)).await;
    seen.long = Some(Long { answer, took: start.elapsed(), beats: room.heartbeats() - before });
}
