//! From a file's bytes to a component that can be instantiated: verified, compiled or taken from the cache, and linked
//! against nothing.
//!
//! Every reason to refuse it has its own error. It runs no guest code.

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre, Linker, types::ComponentItem};

use crate::{
    cache::hex,
    engine::PluginHost,
    error::PluginHostError,
    limits::{MemoryLimiter, short},
};

/// The largest component taken; compiling time grows with it, and ours are a few hundred KiB.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

/// From here on compiling takes so long that the user is told of it.
const SLOW_BYTES: usize = 1 << 20;

/// The first eight bytes of a core module and of a component: the magic number, then version and layer.
const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// A component that can be instantiated.
pub(crate) struct Prepared {
    pub(crate) pre: InstancePre<MemoryLimiter>,
    /// Hexadecimal SHA-256 of the file.
    pub(crate) sha256: String,
}

/// Verifies and compiles a component, and links it against the empty linker. Its compiled form is put on disk if it is to be
/// kept and there is a place for it.
pub(crate) fn prepare(
    host: &PluginHost,
    plugin: &str,
    pin: Option<&str>,
    bytes: &[u8],
    keep: bool,
) -> Result<Prepared, PluginHostError> {
    check_size(plugin, bytes.len() as u64)?;
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    check_pin(plugin, pin, &digest)?;
    check_header(plugin, bytes)?;
    let component = compiled(host, plugin, &digest, bytes, keep)?;
    check_imports(plugin, &component)?;
    let linker: Linker<MemoryLimiter> = Linker::new(component.engine());
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| invalid(plugin, &error))?;
    Ok(Prepared {
        pre,
        sha256: hex(&digest),
    })
}

/// The names of what a component exports, sorted.
pub(crate) fn exports(component: &Component) -> Vec<String> {
    let mut names: Vec<_> = component
        .component_type()
        .exports(component.engine())
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort();
    names
}

/// Refuses a file by its size alone, before it is read.
pub(crate) fn check_size(plugin: &str, size: u64) -> Result<(), PluginHostError> {
    if size <= MAX_BYTES {
        return Ok(());
    }
    Err(PluginHostError::TooLarge {
        plugin: plugin.to_owned(),
        size,
        limit: MAX_BYTES,
    })
}

fn check_pin(plugin: &str, pin: Option<&str>, digest: &[u8]) -> Result<(), PluginHostError> {
    let found = hex(digest);
    match pin {
        Some(pinned) if !pinned.eq_ignore_ascii_case(&found) => {
            Err(PluginHostError::Sha256Mismatch {
                plugin: plugin.to_owned(),
                pinned: pinned.to_owned(),
                found,
            })
        }
        _ => Ok(()),
    }
}

fn check_header(plugin: &str, bytes: &[u8]) -> Result<(), PluginHostError> {
    let what = if bytes.starts_with(COMPONENT_HEADER) {
        return Ok(());
    } else if bytes.starts_with(MODULE_HEADER) {
        "a core module; a plugin is a component (wrap it with `wasm-tools component new`)"
    } else {
        "not WebAssembly"
    };
    Err(PluginHostError::NotAComponent {
        plugin: plugin.to_owned(),
        what,
    })
}

fn compiled(
    host: &PluginHost,
    plugin: &str,
    digest: &[u8; 32],
    bytes: &[u8],
    keep: bool,
) -> Result<Component, PluginHostError> {
    let cached = host.cache.as_ref().and_then(|cache| cache.load(digest));
    if let Some(code) = cached {
        match host.load(&code) {
            Ok(component) => return Ok(component),
            Err(error) => tracing::warn!(plugin, %error, "a cached component does not load"),
        }
    }
    if bytes.len() >= SLOW_BYTES {
        let megabytes = bytes.len() >> 20;
        tracing::info!(plugin, megabytes, "compiling; this takes seconds, once");
    }
    let code = host
        .compile(bytes)
        .map_err(|error| invalid(plugin, &error))?;
    if let Some(cache) = host.cache.as_ref().filter(|_| keep) {
        cache.store(digest, &code);
    }
    host.load(&code).map_err(|error| invalid(plugin, &error))
}

/// Lists what the component wants beyond types, and refuses it when that is anything at all.
fn check_imports(plugin: &str, component: &Component) -> Result<(), PluginHostError> {
    let engine = component.engine();
    let mut wanted = Vec::new();
    for (name, import) in component.component_type().imports(engine) {
        match import.ty {
            ComponentItem::Type(_) => {}
            ComponentItem::ComponentInstance(interface) => {
                let items = interface.exports(engine);
                let things = items.filter(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)));
                wanted.extend(things.map(|(item, _)| format!("{name} {item}")));
            }
            _ => wanted.push(name.to_owned()),
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    Err(PluginHostError::Imports {
        plugin: plugin.to_owned(),
        imports: wanted,
    })
}

fn invalid(plugin: &str, error: &wasmtime::Error) -> PluginHostError {
    PluginHostError::Invalid {
        plugin: plugin.to_owned(),
        message: short(error),
    }
}
