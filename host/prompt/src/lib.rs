//! weir-prompt
