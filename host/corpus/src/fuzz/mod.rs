//! Inputs that nobody wrote: seeded junk of a format's own pieces and changed cases, and the way from one that fails to
//! the smallest one that still does.
//!
//! Nothing here knows a format, or runs a plugin: whoever looks for findings brings the check.

mod finding;
mod generate;
mod pieces;
mod random;
mod shrink;
mod words;

pub use finding::{Finding, Rule};
pub use generate::{Input, Material, chunking, input};
pub use pieces::text;
pub use random::Random;
pub use shrink::{Broken, Check, smallest};
