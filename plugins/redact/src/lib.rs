//! weir-plugin-redact
