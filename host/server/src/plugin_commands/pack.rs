//! `weir plugin pack`: from a core module to a component.

use std::path::Path;

use wit_component::ComponentEncoder;

use super::PluginCommandError;

/// The component of a core module. The SDK's macro, or the object file beside C's bindings, has put the contract's types into the module.
pub(super) fn pack(module: &Path, output: &Path) -> Result<String, PluginCommandError> {
    let bytes = std::fs::read(module).map_err(|error| PluginCommandError::file(module, error))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| PluginCommandError::file(module, format!("{error:#}")))?;
    std::fs::write(output, &component).map_err(|error| PluginCommandError::file(output, error))?;
    Ok(format!("{}: {} bytes\n", output.display(), component.len()))
}
