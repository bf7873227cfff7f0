//! The way out: the worker that empties the outbox (`outbound`), one chat's rows (`post`), texts in parts (`split`, `fence`),
//! and the pace that platforms allow.

mod fence;
pub mod outbound;
pub mod pace;
mod post;
pub mod split;
