//! The export macros: they turn a [`crate::Parser`] or [`crate::PostProcessor`] into a component's exports.
//!
//! They expand on wasm32 only, so that the same crate is ordinary Rust natively. The exports are written in the plugin's
//! crate, because that is the crate that is linked into the module; everything they call stands here.

#[cfg(target_arch = "wasm32")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod convert;
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
            struct WeirSlot;

            impl $crate::guest::ParserSlot for WeirSlot {
                type Parser = $parser;

                fn slot() -> &'static $crate::guest::Slot<$parser, $crate::Event> {
                    static SLOT: $crate::guest::Slot<$parser, $crate::Event> =
                        $crate::guest::Slot::empty();
                    &SLOT
                }
            }

            type WeirGuest = $crate::guest::ParserGuest<WeirSlot>;
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
            struct WeirSlot;

            impl $crate::guest::PostProcessorSlot for WeirSlot {
                type PostProcessor = $post_processor;

                fn slot() -> &'static $crate::guest::Slot<$post_processor, $crate::Action> {
                    static SLOT: $crate::guest::Slot<$post_processor, $crate::Action> =
                        $crate::guest::Slot::empty();
                    &SLOT
                }
            }

            type WeirGuest = $crate::guest::PostProcessorGuest<WeirSlot>;
            $crate::bindings::post_processor_world::export!(
                WeirGuest with_types_in $crate::bindings::post_processor_world
            );
        };
    };
}
