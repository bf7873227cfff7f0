//! The common parts of providers that drive a vendor's program: a [`Vendor`] decides, the [`driver`] acts.
//!
//! A provider keeps its own protocol and its decisions; here is what all of them do alike.

pub mod brief;
pub mod driver;
mod failure;
mod pending;
mod process;
mod program;
pub mod said;
mod signal;
mod vendor;
mod words;

use parlor_protocol::Output;

pub use self::failure::Sorted;
pub use self::pending::{Message, Pending};
pub use self::process::Live;
pub use self::program::{EXIT_LIMIT, Program};
pub use self::signal::{Signal, watch_inputs};
pub use self::vendor::{Step, Vendor};
pub use self::words::Words;

/// Says in a turn's usage which model it was, where the program did not: the host knows its price.
pub fn name_model(output: &mut Output, model: Option<&str>) {
    if let (Some(serde_json::Value::Object(usage)), Some(model)) = (&mut output.usage, model) {
        usage.entry("model").or_insert_with(|| model.into());
    }
}
