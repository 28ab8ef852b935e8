//! The bindings that wit-bindgen generates from `wit/v0.1`: one module a world, the shared types once.
//!
//! Nothing is written by hand here. The generated code lifts and lowers values with raw pointers, so this module alone
//! allows `unsafe`.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

/// The world `parser-plugin`, and the types both worlds share.
pub mod parser_world {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "parser-plugin",
        pub_export_macro: true,
    });
}

/// The world `post-processor-plugin`.
pub mod post_processor_world {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "post-processor-plugin",
        pub_export_macro: true,
        with: {
            "weir:plugin/types@0.1.0": super::parser_world::weir::plugin::types,
        },
    });
}
