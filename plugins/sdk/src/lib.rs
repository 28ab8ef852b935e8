//! weir-plugin-sdk
