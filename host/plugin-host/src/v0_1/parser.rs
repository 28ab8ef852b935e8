//! A version 0.1 parser component as a [`Parser`].

use std::sync::Arc;

use wasmtime::component::ResourceAny;
use weir_output::{
    Event, FinishReason, Fragment, Parser, ParserInfo, ParserSession, PluginError, PluginErrorKind,
    RequestContext, Roles,
};

use super::{
    PARSER,
    bindings::exports::weir::plugin::parser::{Guest, GuestIndices, Info, Roles as GuestRoles},
    convert::{self, ContextLists},
};
use crate::{
    contract::EventOrder,
    error::PluginHostError,
    limits::{short, shortened},
    session::{GuestStore, LinkedPlugin, Session},
};

/// Asks the component what it is.
pub(crate) fn load_parser(plugin: LinkedPlugin) -> Result<Arc<dyn Parser>, PluginHostError> {
    let wrong_types = |error: &wasmtime::Error| PluginHostError::WrongTypes {
        plugin: plugin.name.clone(),
        interface: PARSER,
        message: short(error),
    };
    let indices = GuestIndices::new(&plugin.pre).map_err(|error| wrong_types(&error))?;
    let failed = |kind| plugin.error("describe", kind);
    let mut store = plugin.store().map_err(failed)?;
    let instance = store
        .call(|store| plugin.pre.instantiate(store))
        .map_err(failed)?;
    let guest = store
        .typed(|store| indices.load(store, &instance))
        .map_err(|error| wrong_types(&error))?;
    let described = store
        .call(|store| guest.call_describe(store, &plugin.config))
        .map_err(failed)?;
    let info = described.map_err(|refusal| failed(PluginErrorKind::Config(shortened(&refusal))))?;
    drop(store);
    Ok(Arc::new(WasmParser {
        info: info_out(info),
        indices,
        plugin: Arc::new(plugin),
    }))
}

struct WasmParser {
    plugin: Arc<LinkedPlugin>,
    indices: GuestIndices,
    info: ParserInfo,
}

/// The guest's functions and its session.
struct ParserGuest {
    functions: Guest,
    session: ResourceAny,
}

impl WasmParser {
    fn open(&self, context: &RequestContext) -> Result<(ParserGuest, GuestStore), PluginErrorKind> {
        let lists = ContextLists::of(context);
        let mut store = self.plugin.store()?;
        let guest = store.call(|store| {
            let instance = self.plugin.pre.instantiate(&mut *store)?;
            let functions = self.indices.load(&mut *store, &instance)?;
            let session = functions.session().call_constructor(
                store,
                &self.plugin.config,
                lists.context(context),
            )?;
            Ok(ParserGuest { functions, session })
        })?;
        Ok((guest, store))
    }
}

impl Parser for WasmParser {
    fn info(&self) -> &ParserInfo {
        &self.info
    }

    fn session(&self, context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError> {
        let (guest, store) = self
            .open(context)
            .map_err(|kind| self.plugin.error("constructor", kind))?;
        Ok(Box::new(Session::new(
            &self.plugin,
            guest,
            EventOrder::of_parser(),
            store,
        )))
    }
}

impl ParserSession for Session<ParserGuest> {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        self.step("push", events, |live, events| {
            live.store.tally.count.pushes += 1;
            let ParserGuest { functions, session } = &live.guest;
            let fragment = convert::fragment(fragment);
            let said = live
                .store
                .call(|store| functions.session().call_push(store, *session, fragment))?;
            let before = events.len();
            events.extend(said.into_iter().map(convert::event_out));
            live.order.check_events(&events[before..])
        })
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError> {
        self.step("finish", events, |live, events| {
            let ParserGuest { functions, session } = &live.guest;
            let reason = convert::finish_reason(reason);
            let said = live
                .store
                .call(|store| functions.session().call_finish(store, *session, reason))?;
            let before = events.len();
            events.extend(said.into_iter().map(convert::event_out));
            live.order.check_events(&events[before..])?;
            live.order.check_end()
        })?;
        self.close();
        Ok(())
    }
}

fn info_out(info: Info) -> ParserInfo {
    ParserInfo {
        name: info.name,
        version: info.version,
        roles: Roles {
            reasoning: info.roles.contains(GuestRoles::REASONING),
            tools: info.roles.contains(GuestRoles::TOOLS),
        },
        aliases: info.aliases,
        markers: info.markers,
        special_tokens: info.special_tokens,
        stop_tokens: info.stop_tokens,
        chat_template: info.chat_template,
    }
}
