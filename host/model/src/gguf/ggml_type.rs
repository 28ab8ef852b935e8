//! The element types of ggml, by their numbers in a GGUF file (gguf-py/gguf/constants.py of github.com/ggml-org/llama.cpp).
//!
//! All that the format knows are here, so that a tensor of any of them has a size and a name; candle computes some.

use candle_core::quantized::GgmlDType;

/// An element type: blocks of elements, each of some bytes.
#[derive(Debug, PartialEq)]
pub(super) struct GgmlType {
    number: u32,
    pub(super) name: &'static str,
    /// Elements of a block, along a row.
    pub(super) block_size: u64,
    /// Bytes of a block.
    pub(super) block_bytes: u64,
    /// What candle calls it, for the types it can load.
    pub(super) candle: Option<GgmlDType>,
}

impl GgmlType {
    /// The type of a number, None for one that the format does not have (or does not have any more, such as 4).
    pub(super) fn from_number(number: u32) -> Option<&'static Self> {
        GGML_TYPES.iter().find(|known| known.number == number)
    }
}

const fn loaded(
    number: u32,
    name: &'static str,
    block_size: u64,
    block_bytes: u64,
    candle: GgmlDType,
) -> GgmlType {
    GgmlType {
        candle: Some(candle),
        ..refused(number, name, block_size, block_bytes)
    }
}

const fn refused(number: u32, name: &'static str, block_size: u64, block_bytes: u64) -> GgmlType {
    GgmlType {
        number,
        name,
        block_size,
        block_bytes,
        candle: None,
    }
}

const GGML_TYPES: &[GgmlType] = &[
    loaded(0, "F32", 1, 4, GgmlDType::F32),
    loaded(1, "F16", 1, 2, GgmlDType::F16),
    loaded(2, "Q4_0", 32, 18, GgmlDType::Q4_0),
    loaded(3, "Q4_1", 32, 20, GgmlDType::Q4_1),
    loaded(6, "Q5_0", 32, 22, GgmlDType::Q5_0),
    loaded(7, "Q5_1", 32, 24, GgmlDType::Q5_1),
    loaded(8, "Q8_0", 32, 34, GgmlDType::Q8_0),
    refused(9, "Q8_1", 32, 40),
    loaded(10, "Q2_K", 256, 84, GgmlDType::Q2K),
    loaded(11, "Q3_K", 256, 110, GgmlDType::Q3K),
    loaded(12, "Q4_K", 256, 144, GgmlDType::Q4K),
    loaded(13, "Q5_K", 256, 176, GgmlDType::Q5K),
    loaded(14, "Q6_K", 256, 210, GgmlDType::Q6K),
    refused(15, "Q8_K", 256, 292),
    refused(16, "IQ2_XXS", 256, 66),
    refused(17, "IQ2_XS", 256, 74),
    refused(18, "IQ3_XXS", 256, 98),
    refused(19, "IQ1_S", 256, 50),
    refused(20, "IQ4_NL", 32, 18),
    refused(21, "IQ3_S", 256, 110),
    refused(22, "IQ2_S", 256, 82),
    refused(23, "IQ4_XS", 256, 136),
    refused(24, "I8", 1, 1),
    refused(25, "I16", 1, 2),
    refused(26, "I32", 1, 4),
    refused(27, "I64", 1, 8),
    refused(28, "F64", 1, 8),
    refused(29, "IQ1_M", 256, 56),
    loaded(30, "BF16", 1, 2, GgmlDType::BF16),
    refused(34, "TQ1_0", 256, 54),
    refused(35, "TQ2_0", 256, 66),
    refused(39, "MXFP4", 32, 17),
    refused(40, "NVFP4", 64, 36),
    refused(41, "Q1_0", 128, 18),
];
