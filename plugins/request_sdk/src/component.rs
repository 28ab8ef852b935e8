//! The export macro: it turns a [`crate::RequestProcessor`] into a component's exports.
//!
//! It expands on wasm32 only, so that the same crate is ordinary Rust natively. Allocator and panic handler are the SDK's.

#[cfg(target_arch = "wasm32")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
pub mod guest;

/// Makes the crate a `request-processor-plugin` component of this [`crate::RequestProcessor`] type when built for wasm32;
/// nothing otherwise.
///
/// Use it once, in the crate root of a `cdylib`.
#[macro_export]
macro_rules! export_request_processor {
    ($processor:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)] // the exports are what bindings.rs generates
        const _: () = {
            struct WeirSlot;

            impl $crate::guest::RequestSlot for WeirSlot {
                type Processor = $processor;

                fn slot() -> &'static $crate::guest::Slot<$processor> {
                    static SLOT: $crate::guest::Slot<$processor> = $crate::guest::Slot::empty();
                    &SLOT
                }
            }

            type WeirGuest = $crate::guest::RequestGuest<WeirSlot>;
    $crate::bindings::export!(WeirGuest with_types_in $crate::bindings);
        };
    };
}
