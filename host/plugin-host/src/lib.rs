//! weir-plugin-host
