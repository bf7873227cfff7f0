//! A group whose day's budget is used up waits for the next day. Its chat is notified once.

use chrono::NaiveDate;

use super::jobs::Then;
use super::lane::Live;
use super::look::Look;
use super::machine::{LANES, Machine};
use super::steps::{self, Step};
use crate::config::settings::Settings;
use crate::domain::group::Group;
use crate::domain::usage::next_day;
use crate::store::{Connection, TxResult, usage};

/// A budget that is used up.
#[derive(Debug)]
pub(super) struct UsedUp {
    day: NaiveDate,
    why: String,
    /// The remedy, for the owner.
    remedy: String,
    told: bool,
}

/// Returns the group's used-up budget for a day, or None if something is left.
pub(super) fn used_up(db: &Connection, group: &Group, settings: &Settings, day: NaiveDate) -> TxResult<Option<UsedUp>> {
    let budget = group.container_config.budget.or(settings.budget);
    if budget.is_empty() {
        return Ok(None);
    }
    let Some(today) = usage::of_day(db, &group.folder, day)? else { return Ok(None) };
    let (why, remedy) = if let Some((why, flag)) = budget.used_up(&today.used) {
        (why, format!("The owner can raise it: `parlor groups update {} {flag} …`.", group.folder))
    } else if let (Some(usd), Some(model)) = (budget.usd, &today.unpriced)
        && settings.prices.of(model).is_none()
    {
        // Without a price, the rest of the budget is unknown.
        let why = format!("today's budget of ${usd:.2} cannot be kept, because nobody knows what {model} costs");
        let remedy = format!(
            "The owner can give {model} a price in prices.toml and start Parlor again, or set a budget in tokens instead: \
             `parlor groups update {} --budget-usd '' --budget-tokens …`.",
            group.folder
        );
        (why, remedy)
    } else {
        return Ok(None);
    };
    Ok(Some(UsedUp { day, why, remedy, told: today.told }))
}

impl Machine {
    /// Holds the lanes until the next day, or releases them if the budget was raised. A turn under way ends first.
    pub(super) fn keep_to_budget(&mut self, group: &Group, look: &Look) {
        let Some(used_up) = &look.used_up else {
            for lane in [&mut self.chat, &mut self.task] {
                if std::mem::take(&mut lane.over_budget) {
                    lane.release();
                }
            }
            return;
        };
        let now = self.now;
        let next = next_day(now.wall, self.settings.timezone);
        for lane in LANES {
            // Also returns a slot that the lane was about to get.
            self.stop_waiting(lane);
            if self.lane_ref(lane).live().is_some_and(Live::is_idle) {
                self.close(lane);
            }
            let lane = self.lane(lane);
            if !std::mem::replace(&mut lane.over_budget, true) {
                lane.hold_until(next, now, used_up.why.clone());
            }
        }
        if !used_up.told {
            let text = format!(
                "{}: what is written now is answered from {} on. {}",
                capital(&used_up.why),
                next.with_timezone(&self.settings.timezone).format("%Y-%m-%d %H:%M"),
                used_up.remedy
            );
            tracing::warn!("{}: {}", group.folder, used_up.why);
            let new = steps::notice(&self.jid, self.ids.delivery(), text);
            let say = Step::Say { new, turn_open: false };
            self.commit(vec![say, Step::BudgetTold { folder: group.folder.clone(), day: used_up.day }], Then::Nothing);
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
