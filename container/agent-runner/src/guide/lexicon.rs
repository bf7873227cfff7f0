//! Words of requests in German, Spanish and French, without accents, and the English words of the grammar for them.

mod french;
mod german;
mod spanish;

pub use french::FRENCH;
pub use german::GERMAN;
pub use spanish::SPANISH;
