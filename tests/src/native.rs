//! First-party plugins as ordinary Rust: the SDK's traits behind those of the output pipeline.
//!
//! Only what the contract carries crosses over, so that a plugin finds the same here as in a component.

use std::{marker::PhantomData, sync::Arc};

use anyhow::{anyhow, bail};
use weir_output as host;
use weir_plugin_deepseek_r1::DeepseekR1;
use weir_plugin_deepseek_v3::DeepseekV3;
use weir_plugin_deepseek_v31::DeepseekV31;
use weir_plugin_gpt_oss::GptOss;
use weir_plugin_llama3::Llama3;
use weir_plugin_marked_reasoning::MarkedReasoning;
use weir_plugin_mistral::Mistral;
use weir_plugin_qwen3::Qwen3;
use weir_plugin_qwen25::Qwen25;
use weir_plugin_redact::Redact;
use weir_plugin_sdk as sdk;

use crate::Plugins;

/// First-party plugins by name.
pub struct NativePlugins;

impl Plugins for NativePlugins {
    fn label(&self) -> &'static str {
        "native"
    }

    fn parser(&self, name: &str, config: &toml::Table) -> anyhow::Result<Arc<dyn host::Parser>> {
        let config = serde_json::to_string(config)?;
        Ok(match name {
            "deepseek_r1" => Arc::new(NativeParser::<DeepseekR1>::new(&config)?),
            "deepseek_v3" => Arc::new(NativeParser::<DeepseekV3>::new(&config)?),
            "deepseek_v31" => Arc::new(NativeParser::<DeepseekV31>::new(&config)?),
            "gpt_oss" => Arc::new(NativeParser::<GptOss>::new(&config)?),
            "llama3" => Arc::new(NativeParser::<Llama3>::new(&config)?),
            "marked_reasoning" => Arc::new(NativeParser::<MarkedReasoning>::new(&config)?),
            "mistral" => Arc::new(NativeParser::<Mistral>::new(&config)?),
            "qwen25" => Arc::new(NativeParser::<Qwen25>::new(&config)?),
            "qwen3" => Arc::new(NativeParser::<Qwen3>::new(&config)?),
            _ => bail!("no native parser `{name}`; add it to tests/src/native.rs"),
        })
    }

    fn post_processor(
        &self,
        name: &str,
        config: &toml::Table,
    ) -> anyhow::Result<Arc<dyn host::PostProcessor>> {
        let config = serde_json::to_string(config)?;
        Ok(match name {
            "redact" => Arc::new(NativePostProcessor::<Redact>::new(&config)?),
            _ => bail!("no native post-processor `{name}`; add it to tests/src/native.rs"),
        })
    }
}

/// A parser as the pipeline takes it.
struct NativeParser<P> {
    info: host::ParserInfo,
    config: String,
    parser: PhantomData<fn() -> P>,
}

impl<P: sdk::Parser> NativeParser<P> {
    fn new(config: &str) -> anyhow::Result<Self> {
        let info = P::describe(config).map_err(|message| anyhow!(message))?;
        Ok(Self {
            info: host::ParserInfo {
                name: info.name,
                version: info.version,
                roles: host::Roles {
                    reasoning: info.roles.reasoning,
                    tools: info.roles.tools,
                },
                aliases: info.aliases,
                markers: info.markers,
                special_tokens: info.special_tokens,
                stop_tokens: info.stop_tokens,
                chat_template: info.chat_template,
                call_ids: match info.call_ids {
                    sdk::CallIdFormat::Any => host::CallIdFormat::Any,
                    sdk::CallIdFormat::Alphanumeric(length) => {
                        host::CallIdFormat::Alphanumeric(length)
                    }
                },
                default_config: info.default_config,
            },
            config: config.to_owned(),
            parser: PhantomData,
        })
    }
}

/// The session of a parser or a post-processor.
struct NativeSession<S>(S);

impl<P: sdk::Parser + Send> host::Parser for NativeParser<P> {
    fn info(&self) -> &host::ParserInfo {
        &self.info
    }

    fn session(
        &self,
        context: &host::RequestContext,
    ) -> Result<Box<dyn host::ParserSession>, host::PluginError> {
        Ok(Box::new(NativeSession(P::new(
            &self.config,
            &sdk_context(context),
        ))))
    }
}

impl<P: sdk::Parser + Send> host::ParserSession for NativeSession<P> {
    fn push(
        &mut self,
        fragment: &host::Fragment,
        events: &mut Vec<host::Event>,
    ) -> Result<(), host::PluginError> {
        let mut out = Vec::new();
        self.0.push(&sdk_fragment(fragment), &mut out);
        events.extend(out.into_iter().map(host_event));
        Ok(())
    }

    fn finish(
        &mut self,
        reason: host::FinishReason,
        events: &mut Vec<host::Event>,
    ) -> Result<(), host::PluginError> {
        let mut out = Vec::new();
        self.0.finish(sdk_reason(reason), &mut out);
        events.extend(out.into_iter().map(host_event));
        Ok(())
    }
}

/// A post-processor as the pipeline takes it.
struct NativePostProcessor<P> {
    info: host::PostProcessorInfo,
    config: String,
    post_processor: PhantomData<fn() -> P>,
}

impl<P: sdk::PostProcessor> NativePostProcessor<P> {
    fn new(config: &str) -> anyhow::Result<Self> {
        let info = P::describe(config).map_err(|message| anyhow!(message))?;
        let interests = info.interests;
        Ok(Self {
            info: host::PostProcessorInfo {
                name: info.name,
                version: info.version,
                interests: host::Interests {
                    content: interests.content,
                    reasoning: interests.reasoning,
                    calls: interests.calls,
                },
                default_config: info.default_config,
            },
            config: config.to_owned(),
            post_processor: PhantomData,
        })
    }
}

impl<P: sdk::PostProcessor + Send> host::PostProcessor for NativePostProcessor<P> {
    fn info(&self) -> &host::PostProcessorInfo {
        &self.info
    }

    fn session(
        &self,
        context: &host::RequestContext,
    ) -> Result<Box<dyn host::PostProcessorSession>, host::PluginError> {
        Ok(Box::new(NativeSession(P::new(
            &self.config,
            &sdk_context(context),
        ))))
    }
}

impl<P: sdk::PostProcessor + Send> host::PostProcessorSession for NativeSession<P> {
    fn push(
        &mut self,
        event: &host::Event,
        actions: &mut Vec<host::Action>,
    ) -> Result<(), host::PluginError> {
        let mut out = Vec::new();
        self.0.push(&sdk_event(event), &mut out);
        actions.extend(out.into_iter().map(host_action));
        Ok(())
    }

    fn finish(
        &mut self,
        reason: host::FinishReason,
        actions: &mut Vec<host::Action>,
    ) -> Result<(), host::PluginError> {
        let mut out = Vec::new();
        self.0.finish(sdk_reason(reason), &mut out);
        actions.extend(out.into_iter().map(host_action));
        Ok(())
    }
}

fn sdk_context(context: &host::RequestContext) -> sdk::RequestContext {
    let tool = |tool: &host::Tool| sdk::Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
        strict: tool.strict,
    };
    sdk::RequestContext {
        tools: context.tools.iter().map(tool).collect(),
        tool_choice: match &context.tool_choice {
            host::ToolChoice::None => sdk::ToolChoice::None,
            host::ToolChoice::Auto => sdk::ToolChoice::Auto,
            host::ToolChoice::Required => sdk::ToolChoice::Required,
            host::ToolChoice::Named(name) => sdk::ToolChoice::Named(name.clone()),
        },
        parallel_tool_calls: context.parallel_tool_calls,
        prompt_tail: context.prompt_tail.clone(),
        tool_markers: context.tool_markers.clone(),
        response_format: match &context.response_format {
            host::ResponseFormat::Text => sdk::ResponseFormat::Text,
            host::ResponseFormat::JsonObject => sdk::ResponseFormat::JsonObject,
            host::ResponseFormat::JsonSchema(schema) => {
                sdk::ResponseFormat::JsonSchema(schema.clone())
            }
        },
        strict_markers: context.strict_markers,
    }
}

fn sdk_fragment(fragment: &host::Fragment) -> sdk::Fragment {
    let kind = match fragment.kind {
        host::FragmentKind::Text => sdk::FragmentKind::Text,
        host::FragmentKind::Control => sdk::FragmentKind::Control,
        host::FragmentKind::Unknown => sdk::FragmentKind::Unknown,
    };
    sdk::Fragment::new(fragment.text.clone(), kind)
}

fn sdk_reason(reason: host::FinishReason) -> sdk::FinishReason {
    match reason {
        host::FinishReason::Stop => sdk::FinishReason::Stop,
        host::FinishReason::Length => sdk::FinishReason::Length,
        host::FinishReason::ContentFilter => sdk::FinishReason::ContentFilter,
    }
}

fn sdk_event(event: &host::Event) -> sdk::Event {
    match event.clone() {
        host::Event::Content(fragment) => sdk::Event::Content(sdk_fragment(&fragment)),
        host::Event::Reasoning { text } => sdk::Event::Reasoning { text: text.into() },
        host::Event::CallBegin { index, id, name } => sdk::Event::CallBegin { index, id, name },
        host::Event::CallArguments { index, delta } => sdk::Event::CallArguments {
            index,
            delta: delta.into(),
        },
        host::Event::CallEnd { index } => sdk::Event::CallEnd { index },
        host::Event::CallAbandoned { index, raw } => sdk::Event::CallAbandoned { index, raw },
    }
}

fn host_event(event: sdk::Event) -> host::Event {
    match event {
        sdk::Event::Content(fragment) => host::Event::Content(host::Fragment {
            kind: match fragment.kind {
                sdk::FragmentKind::Text => host::FragmentKind::Text,
                sdk::FragmentKind::Control => host::FragmentKind::Control,
                sdk::FragmentKind::Unknown => host::FragmentKind::Unknown,
            },
            text: fragment.text.into(),
        }),
        sdk::Event::Reasoning { text } => host::Event::Reasoning { text: text.into() },
        sdk::Event::CallBegin { index, id, name } => host::Event::CallBegin { index, id, name },
        sdk::Event::CallArguments { index, delta } => host::Event::CallArguments {
            index,
            delta: delta.into(),
        },
        sdk::Event::CallEnd { index } => host::Event::CallEnd { index },
        sdk::Event::CallAbandoned { index, raw } => host::Event::CallAbandoned { index, raw },
    }
}

fn host_action(action: sdk::Action) -> host::Action {
    match action {
        sdk::Action::Emit(event) => host::Action::Emit(host_event(event)),
        sdk::Action::Stop(reason) => host::Action::Stop(reason),
    }
}
