//! A version 0.1 parser component as a [`Parser`].

use std::sync::Arc;

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};
use weir_output::{
    CallIdFormat, Event, FinishReason, Fragment, GrammarError, Parser, ParserInfo, ParserSession,
    PluginError, PluginErrorKind, RequestContext, Roles, Segment,
};

use super::{
    PARSER,
    bindings::exports::weir::plugin::parser::{
        CallIds, Guest, GuestIndices, Info, Outcome, Roles as GuestRoles,
    },
    convert::{self, ContextLists},
};
use crate::{
    contract::EventOrder,
    error::PluginHostError,
    interface::{Described, Interface},
    limits::MemoryLimiter,
    session::{GuestStore, LinkedPlugin, Session},
};

/// Asks the component what it is.
pub(crate) fn load_parser(plugin: LinkedPlugin) -> Result<Arc<dyn Parser>, PluginHostError> {
    let (described, info) = Described::of(plugin)?;
    Ok(Arc::new(WasmParser {
        info: info_out(info),
        described,
    }))
}

impl Interface for Guest {
    const NAME: &'static str = PARSER;
    type Indices = GuestIndices;
    type Info = Info;

    fn indices(pre: &InstancePre<MemoryLimiter>) -> wasmtime::Result<GuestIndices> {
        GuestIndices::new(pre)
    }

    fn load(
        indices: &GuestIndices,
        store: &mut Store<MemoryLimiter>,
        instance: &Instance,
    ) -> wasmtime::Result<Self> {
        indices.load(store, instance)
    }

    fn describe(
        &self,
        store: &mut Store<MemoryLimiter>,
        config: &str,
    ) -> wasmtime::Result<Result<Info, String>> {
        self.call_describe(store, config)
    }
}

struct WasmParser {
    described: Described<Guest>,
    info: ParserInfo,
}

impl WasmParser {
    fn start(&self, context: &RequestContext) -> Result<(Guest, GuestStore), PluginErrorKind> {
        let lists = ContextLists::of(context);
        let (guest, mut store) = self.described.instance()?;
        store.call(|store| {
            guest.call_start(store, &self.described.plugin.config, lists.context(context))
        })?;
        Ok((guest, store))
    }

    fn forced(&self, context: &RequestContext) -> Result<Option<Segment>, PluginErrorKind> {
        let lists = ContextLists::of(context);
        let (guest, mut store) = self.described.instance()?;
        let segments = store.call(|store| {
            guest.call_grammar(store, &self.described.plugin.config, lists.context(context))
        })?;
        let broken = |error: GrammarError| PluginErrorKind::Contract(error.to_string());
        segments
            .map(|list| Segment::from_list(list.into_iter().map(convert::segment_out).collect()))
            .transpose()
            .map_err(broken)
    }
}

impl Parser for WasmParser {
    fn info(&self) -> &ParserInfo {
        &self.info
    }

    fn session(&self, context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError> {
        let (guest, store) = self
            .start(context)
            .map_err(|kind| self.described.plugin.error("start", kind))?;
        Ok(Box::new(Session::new(
            &self.described.plugin,
            guest,
            EventOrder::of_parser(),
            store,
        )))
    }

    fn grammar(&self, context: &RequestContext) -> Result<Option<Segment>, PluginError> {
        self.forced(context)
            .map_err(|kind| self.described.plugin.error("grammar", kind))
    }
}

impl ParserSession for Session<Guest> {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        self.step("push", &fragment, events, |live, events| {
            let guest = &live.guest;
            let sent = convert::fragment(fragment);
            match live.store.push(|store| guest.call_push(store, sent))? {
                Outcome::Hold => {}
                Outcome::Content => events.push(Event::Content(fragment.clone())),
                Outcome::Reasoning => events.push(Event::Reasoning {
                    text: fragment.text.clone(),
                }),
                Outcome::Arguments => events.push(Event::CallArguments {
                    index: live.order.open_call()?,
                    delta: fragment.text.clone(),
                }),
                Outcome::Events => {
                    let said = live.store.call(|store| guest.call_take_events(store))?;
                    let before = events.len();
                    events.extend(said.into_iter().map(convert::event_out));
                    live.order.check_events(&events[before..])?;
                }
            }
            Ok(())
        })
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError> {
        self.step("finish", &reason, events, |live, events| {
            let guest = &live.guest;
            let reason = convert::finish_reason(reason);
            let said = live.store.call(|store| guest.call_finish(store, reason))?;
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
        call_ids: match info.call_ids {
            CallIds::Any => CallIdFormat::Any,
            CallIds::Alphanumeric(length) => CallIdFormat::Alphanumeric(length),
        },
        default_config: info.default_config,
    }
}
