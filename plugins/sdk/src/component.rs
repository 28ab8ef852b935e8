//! The export macros: they turn a [`crate::Parser`] or [`crate::PostProcessor`] into a component's exports.
//!
//! They expand on wasm32 only, so that the same crate is ordinary Rust natively. The exports are written in the plugin's
//! crate, because that is the crate that is linked into the module; everything they call stands here.

#[cfg(target_arch = "wasm32")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
pub mod guest;

/// Makes the crate a `parser-plugin` component of this [`crate::Parser`] type when built for wasm32; nothing otherwise.
///
/// Use it once, in the crate root of a `cdylib`.
#[macro_export]
macro_rules! export_parser {
    ($parser:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)] // the exports are what bindings.rs generates
        const _: () = {
            type WeirGuest = $crate::guest::ParserGuest<$parser>;
            $crate::bindings::parser_world::export!(
                WeirGuest with_types_in $crate::bindings::parser_world
            );
        };
    };
}

/// Makes the crate a `post-processor-plugin` component of this [`crate::PostProcessor`] type when built for wasm32;
/// nothing otherwise.
///
/// Use it once, in the crate root of a `cdylib`.
#[macro_export]
macro_rules! export_post_processor {
    ($post_processor:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)] // the exports are what bindings.rs generates
        const _: () = {
            type WeirGuest = $crate::guest::PostProcessorGuest<$post_processor>;
            $crate::bindings::post_processor_world::export!(
                WeirGuest with_types_in $crate::bindings::post_processor_world
            );
        };
    };
}
