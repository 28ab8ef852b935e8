//! A version 0.1 post-processor component as a [`PostProcessor`].

use std::sync::Arc;

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};
use weir_output::{
    Action, Event, FinishReason, Interests, PluginError, PluginErrorKind, PostProcessor,
    PostProcessorInfo, PostProcessorSession, RequestContext,
};

use super::{
    POST_PROCESSOR,
    bindings::exports::weir::plugin::post_processor::{
        Action as GuestAction, Guest, GuestIndices, Info, Interests as GuestInterests, Outcome,
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
pub(crate) fn load_post_processor(
    plugin: LinkedPlugin,
) -> Result<Arc<dyn PostProcessor>, PluginHostError> {
    let (described, info) = Described::of(plugin)?;
    Ok(Arc::new(WasmPostProcessor {
        info: info_out(info),
        described,
    }))
}

impl Interface for Guest {
    const NAME: &'static str = POST_PROCESSOR;
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

struct WasmPostProcessor {
    described: Described<Guest>,
    info: PostProcessorInfo,
}

impl WasmPostProcessor {
    fn start(&self, context: &RequestContext) -> Result<(Guest, GuestStore), PluginErrorKind> {
        let lists = ContextLists::of(context);
        let (guest, mut store) = self.described.instance()?;
        let config = &self.described.plugin.config;
        store.call(|store| guest.call_start(store, config, lists.context(context)))?;
        Ok((guest, store))
    }
}

impl PostProcessor for WasmPostProcessor {
    fn info(&self) -> &PostProcessorInfo {
        &self.info
    }

    fn session(
        &self,
        context: &RequestContext,
    ) -> Result<Box<dyn PostProcessorSession>, PluginError> {
        let (guest, store) = self
            .start(context)
            .map_err(|kind| self.described.plugin.error("start", kind))?;
        Ok(Box::new(Session::new(
            &self.described.plugin,
            guest,
            EventOrder::of_post_processor(),
            store,
        )))
    }
}

impl PostProcessorSession for Session<Guest> {
    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) -> Result<(), PluginError> {
        self.step("push", &event, actions, |live, actions| {
            let guest = &live.guest;
            let sent = convert::event(event);
            let before = actions.len();
            match live.store.push(|store| guest.call_push(store, sent))? {
                Outcome::Hold => {}
                Outcome::Pass => actions.push(Action::Emit(event.clone())),
                Outcome::Actions => {
                    let said = live.store.call(|store| guest.call_take_actions(store))?;
                    actions.extend(said.into_iter().map(action_out));
                }
            }
            live.order.check_actions(&actions[before..])
        })
    }

    fn finish(
        &mut self,
        reason: FinishReason,
        actions: &mut Vec<Action>,
    ) -> Result<(), PluginError> {
        self.step("finish", &reason, actions, |live, actions| {
            let guest = &live.guest;
            let reason = convert::finish_reason(reason);
            let said = live.store.call(|store| guest.call_finish(store, reason))?;
            let before = actions.len();
            actions.extend(said.into_iter().map(action_out));
            live.order.check_actions(&actions[before..])?;
            live.order.check_end()
        })?;
        self.close();
        Ok(())
    }
}

fn action_out(action: GuestAction) -> Action {
    match action {
        GuestAction::Emit(event) => Action::Emit(convert::event_out(event)),
        GuestAction::Stop(reason) => Action::Stop(reason),
    }
}

fn info_out(info: Info) -> PostProcessorInfo {
    PostProcessorInfo {
        name: info.name,
        version: info.version,
        interests: Interests {
            content: info.interests.contains(GuestInterests::CONTENT),
            reasoning: info.interests.contains(GuestInterests::REASONING),
            calls: info.interests.contains(GuestInterests::CALLS),
        },
        default_config: info.default_config,
    }
}
