//! From a core module to a component that imports nothing it could call.

use anyhow::{Context, Result, ensure};
use wit_component::{ComponentEncoder, DecodedWasm, decode};

use crate::wit;

/// Makes a component of a module that holds its world's description.
///
/// # Errors
/// When the module is not what its world says, or imports a function.
pub fn encode(module: &[u8]) -> Result<Vec<u8>> {
    let component = ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) =
        decode(&component).map_err(|error| anyhow::anyhow!("{error:#}"))?
    else {
        anyhow::bail!("not a component");
    };
    let world = resolve.worlds.get(world).context("its world")?;
    ensure!(
        !wit::imports_function(&resolve, world),
        "a plugin imports no function"
    );
    Ok(component)
}
