//! The settings of an installation, and the paths of its folders.

pub mod allowlists;
pub mod answering;
pub mod bounds;
mod checked;
pub mod env_edit;
mod env_file;
pub mod extras;
pub mod home;
mod layers;
mod load;
mod place;
mod prices;
pub mod provider;
pub mod proxies;
pub mod secrets;
pub mod settings;
pub mod show;
pub mod values;

pub use layers::{ConfigError, Problem, names};
pub use load::{Examined, Overrides, examine, examine_from, load, load_from};
