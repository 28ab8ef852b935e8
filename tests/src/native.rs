//! First-party plugins as ordinary Rust: the SDK's traits behind those of the output pipeline.
//!
//! Only what the contract carries crosses over, so that a plugin finds the same here as in a component.

use std::{marker::PhantomData, sync::Arc};

use anyhow::{anyhow, bail};
use weir_output as host;
use weir_plugin_deepseek_dsml::DeepseekDsml;
use weir_plugin_deepseek_r1::DeepseekR1;
use weir_plugin_deepseek_v3::DeepseekV3;
use weir_plugin_deepseek_v31::DeepseekV31;
use weir_plugin_ernie45::Ernie45;
use weir_plugin_functiongemma::Functiongemma;
use weir_plugin_gemma4::Gemma4;
use weir_plugin_glm45::Glm45;
use weir_plugin_gpt_oss::GptOss;
use weir_plugin_granite::Granite;
use weir_plugin_kimi_k2::KimiK2;
use weir_plugin_llama3::Llama3;
use weir_plugin_marked_calls::MarkedCalls;
use weir_plugin_marked_reasoning::MarkedReasoning;
use weir_plugin_minimax_m2::MinimaxM2;
use weir_plugin_mistral::Mistral;
use weir_plugin_pythonic::Pythonic;
use weir_plugin_qwen3::Qwen3;
use weir_plugin_qwen3_coder::Qwen3Coder;
use weir_plugin_qwen25::Qwen25;
use weir_plugin_redact::Redact;
use weir_plugin_repair_json::RepairJson;
use weir_plugin_sdk as sdk;
use weir_plugin_seed_oss::SeedOss;
use weir_plugin_step3::Step3;
use weir_plugin_stop_on::StopOn;
use weir_plugin_strip_fences::StripFences;
use weir_plugin_xlam::Xlam;

use crate::{Plugins, manifest::Manifest};

/// First-party plugins by name.
pub struct NativePlugins;

impl Plugins for NativePlugins {
    fn label(&self) -> &'static str {
        "native"
    }

    fn parser(&self, name: &str, config: &toml::Table) -> anyhow::Result<Arc<dyn host::Parser>> {
        let (component, config) = component(name, config)?;
        Ok(match component.as_str() {
            "deepseek_dsml" => Arc::new(NativeParser::<DeepseekDsml>::new(&config)?),
            "deepseek_r1" => Arc::new(NativeParser::<DeepseekR1>::new(&config)?),
            "deepseek_v3" => Arc::new(NativeParser::<DeepseekV3>::new(&config)?),
            "deepseek_v31" => Arc::new(NativeParser::<DeepseekV31>::new(&config)?),
            "ernie45" => Arc::new(NativeParser::<Ernie45>::new(&config)?),
            "functiongemma" => Arc::new(NativeParser::<Functiongemma>::new(&config)?),
            "gemma4" => Arc::new(NativeParser::<Gemma4>::new(&config)?),
            "glm45" => Arc::new(NativeParser::<Glm45>::new(&config)?),
            "gpt_oss" => Arc::new(NativeParser::<GptOss>::new(&config)?),
            "granite" => Arc::new(NativeParser::<Granite>::new(&config)?),
            "kimi_k2" => Arc::new(NativeParser::<KimiK2>::new(&config)?),
            "llama3" => Arc::new(NativeParser::<Llama3>::new(&config)?),
            "marked_calls" => Arc::new(NativeParser::<MarkedCalls>::new(&config)?),
            "marked_reasoning" => Arc::new(NativeParser::<MarkedReasoning>::new(&config)?),
            "minimax_m2" => Arc::new(NativeParser::<MinimaxM2>::new(&config)?),
            "mistral" => Arc::new(NativeParser::<Mistral>::new(&config)?),
            "pythonic" => Arc::new(NativeParser::<Pythonic>::new(&config)?),
            "qwen25" => Arc::new(NativeParser::<Qwen25>::new(&config)?),
            "qwen3" => Arc::new(NativeParser::<Qwen3>::new(&config)?),
            "qwen3_coder" => Arc::new(NativeParser::<Qwen3Coder>::new(&config)?),
            "seed_oss" => Arc::new(NativeParser::<SeedOss>::new(&config)?),
            "step3" => Arc::new(NativeParser::<Step3>::new(&config)?),
            "xlam" => Arc::new(NativeParser::<Xlam>::new(&config)?),
            _ => bail!("no native parser `{component}`; add it to tests/src/native.rs"),
        })
    }

    fn post_processor(
        &self,
        name: &str,
        config: &toml::Table,
    ) -> anyhow::Result<Arc<dyn host::PostProcessor>> {
        let (component, config) = component(name, config)?;
        Ok(match component.as_str() {
            "redact" => Arc::new(NativePostProcessor::<Redact>::new(&config)?),
            "repair_json" => Arc::new(NativePostProcessor::<RepairJson>::new(&config)?),
            "stop_on" => Arc::new(NativePostProcessor::<StopOn>::new(&config)?),
            "strip_fences" => Arc::new(NativePostProcessor::<StripFences>::new(&config)?),
            _ => bail!("no native post-processor `{component}`; add it to tests/src/native.rs"),
        })
    }
}

/// The component behind a name of plugins.toml, and the configuration that it is given, as JSON.
pub(crate) fn component(name: &str, config: &toml::Table) -> anyhow::Result<(String, String)> {
    let manifest = Manifest::read()?;
    let config = serde_json::to_string(&manifest.config(name, config)?)?;
    Ok((manifest.component(name)?, config))
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

    fn grammar(
        &self,
        context: &host::RequestContext,
    ) -> Result<Option<host::Segment>, host::PluginError> {
        Ok(P::grammar(&self.config, &sdk_context(context)).map(host_segment))
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

fn host_segment(segment: sdk::Segment) -> host::Segment {
    let all = |segments: Vec<sdk::Segment>| segments.into_iter().map(host_segment).collect();
    let boxed = |segment: Box<sdk::Segment>| Box::new(host_segment(*segment));
    match segment {
        sdk::Segment::Marker(marker) => host::Segment::Marker(marker),
        sdk::Segment::Literal(text) => host::Segment::Literal(text),
        sdk::Segment::Json(schema) => host::Segment::Json(schema),
        sdk::Segment::Pattern(pattern) => host::Segment::Pattern(pattern),
        sdk::Segment::Until(marker) => host::Segment::Until(marker),
        sdk::Segment::TextWithout(markers) => host::Segment::TextWithout(markers),
        sdk::Segment::Answer => host::Segment::Answer,
        sdk::Segment::Sequence(segments) => host::Segment::Sequence(all(segments)),
        sdk::Segment::Alternative(segments) => host::Segment::Alternative(all(segments)),
        sdk::Segment::Repeat {
            segment,
            separator,
            min,
            max,
        } => host::Segment::Repeat {
            segment: boxed(segment),
            separator: separator.map(boxed),
            min,
            max,
        },
        sdk::Segment::Lark(rule) => host::Segment::Lark(rule),
    }
}

fn host_action(action: sdk::Action) -> host::Action {
    match action {
        sdk::Action::Emit(event) => host::Action::Emit(host_event(event)),
        sdk::Action::Stop(reason) => host::Action::Stop(reason),
    }
}
