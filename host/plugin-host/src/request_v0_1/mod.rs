//! The draft of the request contract 0.1: the generated bindings of `wit/request-v0.1` and their adapter to
//! [`RequestProcessor`].
//!
//! Nothing outside this folder names a generated type. What a plugin asks for is put on its account here, so that nobody who
//! drives one need think of it.

mod convert;

use std::sync::Arc;

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};
use weir_output::{
    Grants, PlannedModel, PlannedRequest, PluginError, PluginErrorKind, ProcessorOutcome,
    ProcessorStep, RequestProcessor, RequestProcessorInfo, RequestSession,
    request_processor::Account,
};

use self::bindings::exports::weir::request::request_processor::{Guest, GuestIndices, Info};
use crate::{
    error::PluginHostError,
    interface::{Described, Interface},
    limits::MemoryLimiter,
    session::{LinkedPlugin, Session},
};

/// The interface a request processor exports. A draft: no other version is taken for it.
pub(crate) const REQUEST_PROCESSOR: &str = "weir:request/request-processor@0.1.0-draft";

#[allow(missing_docs, dead_code, unused_imports)] // generated
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/request-v0.1",
        world: "request-processor-plugin",
    });
}

/// Asks the component what it is.
pub(crate) fn load_request_processor(
    plugin: LinkedPlugin,
) -> Result<Arc<dyn RequestProcessor>, PluginHostError> {
    let (described, info) = Described::<Guest>::of(plugin)?;
    Ok(Arc::new(WasmRequestProcessor {
        info: RequestProcessorInfo {
            name: info.name,
            version: info.version,
            default_config: info.default_config,
            chooses: info.chooses,
        },
        described,
    }))
}

impl Interface for Guest {
    const NAME: &'static str = REQUEST_PROCESSOR;
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

struct WasmRequestProcessor {
    described: Described<Guest>,
    info: RequestProcessorInfo,
}

type RequestState = Session<Guest, Account>;

impl WasmRequestProcessor {
    fn begin(
        &self,
        request: &PlannedRequest,
        model: &PlannedModel,
    ) -> Result<(RequestState, ProcessorStep), PluginErrorKind> {
        let plugin = &self.described.plugin;
        let (guest, mut store) = self.described.instance()?;
        let candidates = request.candidates.len();
        let request = convert::request(request);
        let step = store.call(|store| {
            guest.call_start(
                store,
                &plugin.config,
                &request,
                convert::grants(&plugin.grants),
                convert::model(model),
            )
        })?;
        let step = convert::step_out(step);
        let mut account = Account::new(plugin.grants, candidates);
        account.take(&step)?;
        Ok((Session::new(plugin, guest, account, store), step))
    }
}

impl RequestProcessor for WasmRequestProcessor {
    fn name(&self) -> &str {
        &self.described.plugin.name
    }

    fn info(&self) -> &RequestProcessorInfo {
        &self.info
    }

    fn grants(&self) -> &Grants {
        &self.described.plugin.grants
    }

    fn start(
        &self,
        request: &PlannedRequest,
        model: &PlannedModel,
    ) -> Result<(Box<dyn RequestSession>, ProcessorStep), PluginError> {
        let (session, step) = self
            .begin(request, model)
            .map_err(|kind| self.described.plugin.error("start", kind))?;
        Ok((Box::new(session), step))
    }
}

impl RequestSession for RequestState {
    fn resume(&mut self, outcomes: &[ProcessorOutcome]) -> Result<ProcessorStep, PluginError> {
        let mut steps = Vec::with_capacity(1);
        let outcomes: Vec<_> = outcomes.iter().map(convert::outcome).collect();
        self.step("resume", &outcomes.len(), &mut steps, |live, steps| {
            let guest = &live.guest;
            let step = live
                .store
                .call(|store| guest.call_resume(store, &outcomes))?;
            let step = convert::step_out(step);
            live.order.take(&step)?;
            steps.push(step);
            Ok(())
        })?;
        match steps.pop() {
            Some(step) => Ok(step),
            None => unreachable!("a step that succeeds is pushed"),
        }
    }
}
