//! The HTTP side over the fake runner: what clients send, what they get, and what becomes of the engine meanwhile.

mod chat;
mod completions;
mod engine;
mod errors;
mod parsers;
mod server;
mod streams;
