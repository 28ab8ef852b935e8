//! The quantized CPU runner: weights repacked at load, int8 activations, one parallel region a step.

pub mod matrix;
