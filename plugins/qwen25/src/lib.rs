//! weir-plugin-qwen25
