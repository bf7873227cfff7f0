//! A recurring time as its words name it, and its conversion into a schedule. Pure.

use std::collections::BTreeSet;

use chrono::{NaiveTime, Timelike};

use super::recurring::WORKDAYS;
use super::when::{MORNING, Problem, When};

/// A recurring time during parsing.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// Weekdays, Sunday is 0; None means every day.
    pub(super) days: Option<BTreeSet<u32>>,
    /// `1#2` or `5L`: the nth or last such weekday of the month.
    pub(super) nth: Option<String>,
    /// The cron field for days of the month.
    pub(super) of_month: Option<String>,
    pub(super) month: Option<u32>,
    /// A step of minutes or hours.
    pub(super) step: Option<Step>,
    pub(super) times: Vec<NaiveTime>,
    /// From one full hour to another.
    pub(super) window: Option<(u32, u32)>,
    /// The part that no schedule can express.
    pub(super) problem: Option<Problem>,
}

/// A step of a number of units; `Other` counts milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Minutes(u32),
    Hours(u32),
    Other(u64),
}

impl Rule {
    /// Converts the rule into a schedule.
    pub(super) fn when(self) -> When {
        if let Some(problem) = self.problem {
            return When::Never(problem);
        }
        match self.step {
            Some(step) => self.stepping(step),
            None if self.window.is_some() => When::Never(Problem::Window),
            None => self.at_times(),
        }
    }

    /// Converts a step, perhaps on certain days or between certain hours.
    fn stepping(&self, step: Step) -> When {
        let plain = self.days.is_none() && self.window.is_none() && self.times.is_empty();
        let hours = |last: u32| self.window.map_or_else(|| "*".to_owned(), |(from, _)| format!("{from}-{last}"));
        let days = self.days_field();
        match step {
            Step::Minutes(minutes) if plain => When::Every(u64::from(minutes) * 60_000),
            Step::Hours(hours) if plain => When::Every(u64::from(hours) * 3_600_000),
            Step::Other(ms) if plain => When::Every(ms),
            // Days at a certain time: cron counts them anew in each month, which the answer says.
            Step::Other(ms) if self.window.is_none() && self.days.is_none() && ms.is_multiple_of(86_400_000) => {
                let every = format!("*/{}", ms / 86_400_000);
                Rule { of_month: Some(every), times: self.times.clone(), ..Self::default() }.at_times()
            }
            Step::Minutes(minutes) if 60 % minutes == 0 && self.times.is_empty() => {
                // The last hour ends the window and is not part of it.
                When::Cron(format!("*/{minutes} {} * * {days}", hours(self.window.map_or(23, |(_, to)| to - 1))))
            }
            Step::Hours(step) if self.times.is_empty() => {
                let hours = hours(self.window.map_or(23, |(_, to)| to));
                let hours = if step == 1 { hours } else { format!("{hours}/{step}") };
                When::Cron(format!("0 {hours} * * {days}"))
            }
            _ => When::Never(Problem::Window),
        }
    }

    fn at_times(&self) -> When {
        let every_day = self.days.is_none() && self.nth.is_none() && self.of_month.is_none();
        if self.times.is_empty() && every_day {
            return When::Daily;
        }
        let times = if self.times.is_empty() { vec![MORNING] } else { self.times.clone() };
        if times.iter().any(|time| time.minute() != times[0].minute()) {
            return When::Never(Problem::TwoMinutes);
        }
        let hours: BTreeSet<u32> = times.iter().map(Timelike::hour).collect();
        let of_month = self.of_month.as_deref().unwrap_or("*");
        let month = self.month.map_or_else(|| "*".to_owned(), |month| month.to_string());
        When::Cron(format!("{} {} {of_month} {month} {}", times[0].minute(), list(&hours), self.days_field()))
    }

    fn days_field(&self) -> String {
        match (&self.nth, &self.days) {
            (Some(nth), _) => nth.clone(),
            (None, None) => "*".to_owned(),
            (None, Some(days)) if days.len() == 7 => "*".to_owned(),
            (None, Some(days)) if days.iter().eq(&WORKDAYS) => "1-5".to_owned(),
            (None, Some(days)) => list(days),
        }
    }
}

fn list(numbers: &BTreeSet<u32>) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
