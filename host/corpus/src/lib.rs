//! What a plugin is judged by: cases, the ways to cut them, the fold of what comes, and made-up inputs.
//!
//! A case is a TOML file; [`case`] is its format, [`chunking`] cuts its text, [`fold`] runs it through the output pipeline,
//! [`compare`] says where chunkings or expectations disagree, [`fuzz`] makes inputs and the smallest of those that fail.
//! The project's own tests and `weir plugin check` both run on it. It knows no format, and neither where plugins come
//! from nor where the project keeps its cases.

pub mod case;
pub mod chunking;
pub mod compare;
pub mod fold;
pub mod fuzz;
