//! What this build lacks: `cargo xtask cuda` compiles attention for the head sizes and numbers that it is asked for, and says
//! here which; other builds have all of them.

use crate::dtype::Dtype;

/// Head sizes, separated by commas.
const HEAD_SIZES: Option<&str> = option_env!("WEIR_CUDA_HEAD_SIZES");
/// `true` or `false`: f16 beside bf16.
const F16: Option<&str> = option_env!("WEIR_CUDA_F16");

/// Why there is no attention for heads of so many elements.
pub(crate) fn lacks_heads(size: usize) -> Option<String> {
    lacks_heads_of(size, HEAD_SIZES?)
}

/// Why there is no attention in such numbers.
pub(crate) fn lacks_numbers(dtype: Dtype) -> Option<String> {
    (dtype == Dtype::F16 && F16 == Some("false")).then(|| {
        "this build computes in bf16 alone: build it with cargo xtask cuda --f16, or choose bf16".to_owned()
    })
}

fn lacks_heads_of(size: usize, built: &str) -> Option<String> {
    let there = built.split(',').any(|one| one.parse() == Ok(size));
    (!there).then(|| {
        format!("the model has heads of {size} elements; this build has attention for {built}: see cargo xtask cuda --head-sizes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_were_left_out_are_named() {
        for (size, built, fine) in [
            (64, "64,128", true),
            (128, "64,128", true),
            (96, "64,128", false),
            (12, "128", false),
        ] {
            assert_eq!(lacks_heads_of(size, built).is_none(), fine, "{size}");
        }
    }
}
