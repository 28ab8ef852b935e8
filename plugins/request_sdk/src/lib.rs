//! What a request processor is written with: the words of its contract, the trait, and the macro that makes a component of it.
//!
//! A crate beside the SDK, not a part of it: every byte of a plugin depends on the SDK's source, and the contract here is a draft.
//! As there, a plugin is ordinary Rust natively and a component on wasm32, and imports no function.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod component;
pub mod config_numbers;
pub mod request_processor;
pub mod words;

pub use request_processor::RequestProcessor;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use component::{bindings, guest};
