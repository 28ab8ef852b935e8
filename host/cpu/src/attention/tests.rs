//! Attention against a plain f32 reference.
