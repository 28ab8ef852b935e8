//! weir-plugin-deepseek-v3
