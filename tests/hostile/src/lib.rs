//! weir-plugin-hostile
