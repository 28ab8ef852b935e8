//! Contract version 0.1: the generated bindings of `wit/v0.1` and their adapters to the traits of `weir-output`.
//!
//! Nothing outside this folder names a generated type; a version 0.2 is a folder beside it.

mod convert;
mod parser;
mod post_processor;

pub(crate) use parser::load_parser;
pub(crate) use post_processor::load_post_processor;

/// The interface a parser exports. One with another patch number is the same: a patch changes documentation alone.
pub(crate) const PARSER: &str = "weir:plugin/parser@0.1.0";

/// The interface a post-processor exports.
pub(crate) const POST_PROCESSOR: &str = "weir:plugin/post-processor@0.1.0";

/// Both worlds at once, so that they share one set of types; the adapters use the interfaces and not the world.
#[allow(missing_docs, dead_code, unused_imports)] // generated
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        inline: "
            package weir:host;

            world plugins {
                include weir:plugin/parser-plugin@0.1.0;
                include weir:plugin/post-processor-plugin@0.1.0;
            }
        ",
        world: "weir:host/plugins",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}
