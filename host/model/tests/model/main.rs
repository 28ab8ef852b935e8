//! Tests of the crate from outside, on a tiny model they write themselves.

mod execution;
mod loading;
mod tiny_llama;
