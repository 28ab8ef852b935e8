//! The bindings that wit-bindgen generates from `wit/request-v0.1`.
//!
//! Nothing is written by hand here. The generated code lifts and lowers values with raw pointers, so this module alone
//! allows `unsafe`.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

wit_bindgen::generate!({
    path: "../../wit/request-v0.1",
    world: "request-processor-plugin",
    pub_export_macro: true,
});
