//! `weir` as a process: what users type, what they read when it is wrong, and what becomes of requests when plugins, clients
//! or operators misbehave. Everything listens on 127.0.0.1 and needs no network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod abuse;
mod admin;
mod bench;
mod client;
mod command_line;
#[path = "../documented/mod.rs"]
mod documented;
mod engine_orders;
mod example;
mod front;
mod hostile;
#[path = "../../../../tests/src/constraints/hostile.rs"]
mod hostile_cases;
mod hostile_constraints;
mod hub;
mod keys;
mod lifecycle;
mod logs;
mod models;
mod models_refused;
mod new_plugin;
mod offline;
mod playground;
mod pull;
mod refused;
mod reload;
mod request_processors;
mod seeds;
mod starting;
mod tls;
mod weir;
