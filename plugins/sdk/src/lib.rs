//! What a weir plugin is written with: the contract's types and traits, the export macros, and the scanners parsers share.
//!
//! A plugin crate is ordinary Rust natively (its tests call the trait) and a component on wasm32, where
//! [`export_parser!`] or [`export_post_processor!`] writes the exports, the allocator and the panic handler. It imports
//! no function. Nothing here knows a model family's markers.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bare_calls;
pub mod brace_calls;
pub mod brace_value;
pub mod call_list;
pub mod chained;
mod component;
pub mod config_reader;
pub mod forced_calls;
pub mod forced_xml_calls;
pub mod fragment_buffer;
pub mod grammar;
pub mod id_with_name;
pub mod json_call;
pub mod json_scanner;
pub mod json_text;
pub mod listed_calls;
pub mod marked_calls;
pub mod marker_scanner;
pub mod outcome;
pub mod owned_formats;
pub mod parser;
pub mod patterns;
pub mod post_processor;
pub mod python_arguments;
pub mod python_calls;
pub mod python_forced;
pub mod python_number;
pub mod python_string;
pub mod reasoning;
pub mod schema_types;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod types;
pub mod xml_calls;

pub use grammar::Segment;
pub use parser::Parser;
pub use post_processor::PostProcessor;
pub use types::{
    Action, CallIdFormat, Event, FinishReason, Fragment, FragmentKind, Interests, ParserInfo,
    PostProcessorInfo, RequestContext, ResponseFormat, Roles, Text, Tool, ToolChoice,
};

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use component::{bindings, guest};
