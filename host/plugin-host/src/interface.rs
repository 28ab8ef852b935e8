//! From a linked plugin to an instance whose functions can be called, for every interface a component may export.

use std::sync::Arc;

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};
use weir_output::PluginErrorKind;

use crate::{
    error::PluginHostError,
    limits::{MemoryLimiter, short, shortened},
    session::{GuestStore, LinkedPlugin},
};

/// An interface of a contract version, implemented for the generated handle on an instance's functions.
pub(crate) trait Interface: Sized {
    /// With its version, as components spell it.
    const NAME: &'static str;
    /// Where a component has the interface's functions.
    type Indices;
    /// What `describe` says, as it was generated.
    type Info;

    /// Looks the functions up in a component.
    fn indices(pre: &InstancePre<MemoryLimiter>) -> wasmtime::Result<Self::Indices>;

    /// Looks them up in an instance of it and checks their types.
    fn load(
        indices: &Self::Indices,
        store: &mut Store<MemoryLimiter>,
        instance: &Instance,
    ) -> wasmtime::Result<Self>;

    /// Asks what the plugin is under this configuration, JSON text; a plugin may refuse it.
    fn describe(
        &self,
        store: &mut Store<MemoryLimiter>,
        config: &str,
    ) -> wasmtime::Result<Result<Self::Info, String>>;
}

/// A plugin that was asked what it is, ready for sessions.
pub(crate) struct Described<I: Interface> {
    pub(crate) plugin: Arc<LinkedPlugin>,
    indices: I::Indices,
}

impl<I: Interface> Described<I> {
    /// Asks the component what it is.
    pub(crate) fn of(plugin: LinkedPlugin) -> Result<(Self, I::Info), PluginHostError> {
        let wrong_types = |error: wasmtime::Error| PluginHostError::WrongTypes {
            plugin: plugin.name.clone(),
            interface: I::NAME,
            message: short(&error),
        };
        let failed = |kind| plugin.error("describe", kind);
        let indices = I::indices(&plugin.pre).map_err(wrong_types)?;
        let mut store = plugin.store().map_err(failed)?;
        let instance = store
            .call(|store| plugin.pre.instantiate(store))
            .map_err(failed)?;
        let guest = store
            .typed(|store| I::load(&indices, store, &instance))
            .map_err(wrong_types)?;
        let described = store
            .call(|store| guest.describe(store, &plugin.config))
            .map_err(failed)?;
        let info =
            described.map_err(|refusal| failed(PluginErrorKind::Config(shortened(&refusal))))?;
        drop(store);
        let plugin = Arc::new(plugin);
        Ok((Self { plugin, indices }, info))
    }

    /// An instance on which nothing was called yet.
    pub(crate) fn instance(&self) -> Result<(I, GuestStore), PluginErrorKind> {
        let mut store = self.plugin.store()?;
        let guest = store.call(|store| {
            let instance = self.plugin.pre.instantiate(&mut *store)?;
            I::load(&self.indices, store, &instance)
        })?;
        Ok((guest, store))
    }
}
