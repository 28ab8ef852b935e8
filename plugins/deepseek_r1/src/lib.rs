//! weir-plugin-deepseek-r1
