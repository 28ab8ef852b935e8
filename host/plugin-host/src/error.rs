//! What can go wrong before a plugin's first session: naming, reading, verifying, compiling and loading it.

use std::{io, path::PathBuf};

use thiserror::Error;
use weir_output::PluginError;

use crate::manifest::PluginKind;

/// A plugin cannot be used. Every message says which one and why.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PluginHostError {
    /// The WebAssembly engine cannot be set up on this machine.
    #[error("cannot start the plugin engine: {0}")]
    Engine(String),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest is not what it should be: not TOML, an unknown key, a bad glob, a limit of zero.
    #[error("{manifest}: {message}")]
    Manifest {
        /// Which manifest.
        manifest: String,
        /// What is wrong, with the key.
        message: String,
    },
    /// A name or alias stands for two plugins.
    #[error("plugin name `{name}` is taken twice: by {first} and by {second}")]
    Duplicate {
        /// The name or alias.
        name: String,
        /// Who has it.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// An ad-hoc plugin that is not written `NAME=FILE.wasm`.
    #[error("`{0}` is not NAME=FILE.wasm")]
    AdHoc(String),
    /// No such plugin answers to the name.
    #[error("no {wanted} is called `{name}`{}; known: {}", did_you_mean(.nearest), listed(.known))]
    Unknown {
        /// What was looked for: `parser`, `post-processor`, or `plugin` for either.
        wanted: &'static str,
        /// The name as given.
        name: String,
        /// A known name close to it.
        nearest: Option<String>,
        /// Every name of that kind, sorted.
        known: Vec<String>,
    },
    /// The name stands for a plugin of the other kind.
    #[error("plugin `{plugin}` is a {kind}, not a {wanted}")]
    WrongKind {
        /// Which plugin.
        plugin: String,
        /// What it is.
        kind: PluginKind,
        /// What was asked for.
        wanted: PluginKind,
    },
    /// A first-party component is not in the binary.
    #[error("plugin `{plugin}`: {path} is not part of this binary")]
    NotEmbedded {
        /// Which plugin.
        plugin: String,
        /// The path in its manifest.
        path: String,
    },
    /// The bytes are not the pinned ones.
    #[error(
        "plugin `{plugin}`: sha256 is {found}, pinned is `{pinned}`; the file was changed or the pin is old"
    )]
    Sha256Mismatch {
        /// Which plugin.
        plugin: String,
        /// The pin.
        pinned: String,
        /// The digest of the bytes.
        found: String,
    },
    /// A component larger than the host takes.
    #[error("plugin `{plugin}`: {size} bytes, more than the {limit} a component may have")]
    TooLarge {
        /// Which plugin.
        plugin: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Not a component: a core module, or no WebAssembly at all.
    #[error("plugin `{plugin}`: {what}")]
    NotAComponent {
        /// Which plugin.
        plugin: String,
        /// What it is.
        what: &'static str,
    },
    /// Damaged or unsupported: it does not validate or compile.
    #[error("plugin `{plugin}`: not a valid component: {message}")]
    Invalid {
        /// Which plugin.
        plugin: String,
        /// The compiler's words.
        message: String,
    },
    /// It wants something of the host; plugins get nothing.
    #[error("plugin `{plugin}`: it imports {}, and a plugin may import nothing but types", listed(.imports))]
    Imports {
        /// Which plugin.
        plugin: String,
        /// What it imports.
        imports: Vec<String>,
    },
    /// It exports no interface of the wanted kind in a contract version this host speaks.
    #[error("plugin `{plugin}`: it exports no {wanted}; it exports {}", listed(.exports))]
    WrongWorld {
        /// Which plugin.
        plugin: String,
        /// The interface that is missing.
        wanted: String,
        /// What it exports.
        exports: Vec<String>,
    },
    /// The interface has the right name and the wrong functions or types.
    #[error("plugin `{plugin}`: its {interface} is not the contract's: {message}")]
    WrongTypes {
        /// Which plugin.
        plugin: String,
        /// The interface.
        interface: &'static str,
        /// The difference.
        message: String,
    },
    /// It failed while it described itself, or refused its configuration.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}
