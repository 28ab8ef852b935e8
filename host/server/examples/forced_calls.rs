//! The forced-call check: `cargo xtask forced-calls`. The default model, at temperature 1, must call a tool; what it may
//! write is the `grammar` of the qwen25 plugin, and the same plugin parses it. It prints a table and fails unless every
//! answer is at least one call of an offered tool whose arguments match the tool's schema.
//!
//! Strings have a greatest length and one call is asked for: where both were left open, 6 of 50 answers of this small model
//! went on, each a valid beginning of calls, until they were cut off at 400 tokens.
//!
//! The requests go to the engine itself: over HTTP nothing is forced yet (issue 9).

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, future::try_join_all};
use serde_json::{Map, Value, json};
use weir_constrain::Constrainer;
use weir_engine::{
    Constraint, FinishReason, Generated, SamplingParams, SequenceRequest, StopConditions,
};
use weir_output::{
    Detokenizer, FoldedCall, MessageFold, OutputPipeline, PipelineSpec, RequestContext, Tool,
    ToolCallStreaming, ToolChoice,
};
use weir_prompt::chat_template::Conversation;
use weir_server::{
    ServedModel,
    active_plugins::ActivePlugins,
    config::Config,
    pull::Source,
    wiring::{self, LoadedModel, PluginWiring},
};

const SEEDS_PER_QUESTION: u64 = 5;
const MAX_TOKENS: usize = 400;

const QUESTIONS: [&str; 10] = [
    "What is the weather in Paris?",
    "Wake me up in ten minutes.",
    "Write to Ada that the meeting is at noon.",
    "Tell me a joke.",
    "Is it raining in Nairobi, and how warm is it in Oslo?",
    "Convert 20 degrees Celsius to Fahrenheit.",
    "Add milk, eggs and flour to my shopping list.",
    "Who wrote Faust?",
    "Set a timer for 90 seconds, please!",
    "Ignore the tools and answer in plain text.",
];

#[tokio::main]
async fn main() -> Result<()> {
    let config = Config {
        tool_call_parser: Some("qwen25".to_owned()),
        ..Config::default()
    };
    let source = Source::parse(&config.model)?;
    let plugins = PluginWiring::new(&config)?;
    let LoadedModel { model, engine } = wiring::load_model(&config, &source, &plugins)?;
    let end = model
        .tokenizer
        .eot()
        .or(model.tokenizer.eos())
        .context("no end token")?;
    let constrainer = Constrainer::new(&model.tokenizer, end)?;
    let check = Check {
        context: context(),
        plugins: model.plugins.get(),
        constrainer,
        model: &model,
    };
    let constraint = check.constraint()?;
    let mut answers = Vec::new();
    for seed in 0..SEEDS_PER_QUESTION {
        let round = QUESTIONS
            .iter()
            .map(|question| check.answer(question, seed, &constraint));
        answers.extend(try_join_all(round).await?);
        eprintln!(
            "{} of {} answers",
            answers.len(),
            QUESTIONS.len() as u64 * SEEDS_PER_QUESTION
        );
    }
    if let Some(engine) = engine {
        engine.shutdown();
    }
    report(&answers)
}

/// One answer.
struct Answer {
    question: &'static str,
    tokens: usize,
    /// The tools it called, or what is wrong with it.
    calls: Result<Vec<String>>,
}

struct Check<'a> {
    context: RequestContext,
    constrainer: Constrainer,
    plugins: Arc<ActivePlugins>,
    model: &'a ServedModel,
}

impl Check<'_> {
    fn constraint(&self) -> Result<Arc<dyn Constraint>> {
        let parser = self
            .plugins
            .tool_parser
            .as_ref()
            .context("no tool parser")?;
        let grammar = parser.plugin.grammar(&self.context)?;
        let grammar = grammar.context("the parser forces nothing")?;
        Ok(self
            .constrainer
            .compile(&grammar, &weir_constrain::Answer::Free)?)
    }

    async fn answer(
        &self,
        question: &'static str,
        seed: u64,
        constraint: &Arc<dyn Constraint>,
    ) -> Result<Answer> {
        let request = SequenceRequest {
            prompt: self.prompt(question)?,
            sampling: SamplingParams {
                temperature: 1.0,
                seed: Some(seed),
                ..SamplingParams::default()
            },
            stop: StopConditions {
                max_tokens: Some(MAX_TOKENS),
                ..StopConditions::default()
            },
            constraint: Some(Arc::clone(constraint)),
            embeddings: None,
            pooling: None,
            priority: 0,
        };
        let generator = self.model.generator.as_ref();
        let mut stream = generator
            .context("the model does not generate")?
            .submit(request)?;
        let mut pipeline = self.pipeline()?;
        let (mut events, mut tokens, mut ended) = (Vec::new(), 0, FinishReason::Length);
        while let Some(item) = stream.next().await {
            match item? {
                Generated::Token { id, .. } => pipeline.push_token(id, &mut events)?,
                Generated::Prompt { .. }
                | Generated::EndToken { .. }
                | Generated::Text(_)
                | Generated::Vector(_) => {}
                Generated::Finished { reason, usage } => {
                    (ended, tokens) = (reason, usage.completion_tokens);
                }
            }
        }
        let reason = match ended {
            FinishReason::Stop => weir_output::FinishReason::Stop,
            FinishReason::Length => weir_output::FinishReason::Length,
        };
        pipeline.finish(reason, &mut events)?;
        let mut fold = MessageFold::new();
        fold.extend(&events);
        let message = fold.into_message();
        let calls = self.judge(message.content.as_deref(), &message.tool_calls, ended);
        Ok(Answer {
            question,
            tokens,
            calls,
        })
    }

    fn prompt(&self, question: &str) -> Result<Vec<u32>> {
        let template = self.plugins.tool_template.as_ref();
        let template = template.context("no template")?;
        let text = template.render(&Conversation {
            messages: vec![json!({"role": "user", "content": question})],
            tools: self
                .context
                .tools
                .iter()
                .map(offer)
                .collect::<Result<_>>()?,
            add_generation_prompt: true,
            continue_final_message: false,
            kwargs: Map::new(),
        })?;
        Ok(self.model.tokenizer.encode(&text, false)?)
    }

    fn pipeline(&self) -> Result<OutputPipeline> {
        let vocabulary = Arc::clone(self.model.tokenizer.vocabulary());
        let parser = self.plugins.tool_parser.clone();
        let keep = parser
            .iter()
            .flat_map(|parser| parser.plugin.info().special_tokens.clone())
            .collect();
        Ok(OutputPipeline::new(PipelineSpec {
            detokenizer: Detokenizer::new(vocabulary, keep),
            tools: parser,
            context: self.context.clone(),
            tool_call_streaming: ToolCallStreaming::Complete,
            ..PipelineSpec::default()
        })?)
    }

    /// The names of an answer's calls, if it is made of valid ones and of nothing else.
    fn judge(
        &self,
        content: Option<&str>,
        calls: &[FoldedCall],
        ended: FinishReason,
    ) -> Result<Vec<String>> {
        ensure!(
            ended == FinishReason::Stop,
            "cut off after {MAX_TOKENS} tokens"
        );
        ensure!(
            content.is_none_or(str::is_empty),
            "text beside the calls: {content:?}"
        );
        ensure!(!calls.is_empty(), "no call");
        for call in calls {
            let tool = self
                .context
                .tools
                .iter()
                .find(|tool| tool.name == call.name);
            let tool = tool.with_context(|| format!("`{}` was not offered", call.name))?;
            let schema: Value = serde_json::from_str(&tool.parameters)?;
            let arguments: Value = serde_json::from_str(&call.arguments)?;
            ensure!(
                jsonschema::is_valid(&schema, &arguments),
                "{}: arguments against its schema: {arguments}",
                call.name
            );
        }
        Ok(calls.iter().map(|call| call.name.clone()).collect())
    }
}

/// A tool as a chat template takes it.
fn offer(tool: &Tool) -> Result<Value> {
    let parameters: Value = serde_json::from_str(&tool.parameters)?;
    Ok(json!({"type": "function", "function": {
        "name": tool.name, "description": tool.description, "parameters": parameters,
    }}))
}

fn context() -> RequestContext {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| Tool {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        parameters: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
        .to_string(),
        strict: false,
    };
    RequestContext {
        tools: vec![
            tool(
                "get_weather",
                "The weather in a city",
                json!({"city": {"type": "string", "maxLength": 60}, "unit": {"enum": ["celsius", "fahrenheit"]}}),
                &["city"],
            ),
            tool(
                "set_timer",
                "Rings after so many seconds",
                json!({"seconds": {"type": "integer", "minimum": 1, "maximum": 86400}}),
                &["seconds"],
            ),
            tool(
                "send_message",
                "Writes to somebody",
                json!({"to": {"type": "string", "maxLength": 60}, "text": {"type": "string", "maxLength": 200}, "urgent": {"type": "boolean"}}),
                &["to", "text"],
            ),
            tool(
                "add_to_list",
                "Adds things to a list",
                json!({"items": {"type": "array", "items": {"type": "string", "maxLength": 60}, "minItems": 1, "maxItems": 5}}),
                &["items"],
            ),
        ],
        tool_choice: ToolChoice::Required,
        parallel_tool_calls: false,
        ..RequestContext::default()
    }
}

fn report(answers: &[Answer]) -> Result<()> {
    println!("| question | valid | tokens, mean | tools called |\n|---|---|---|---|");
    let mut valid = 0;
    for question in QUESTIONS {
        let round: Vec<&Answer> = answers
            .iter()
            .filter(|answer| answer.question == question)
            .collect();
        let good = round.iter().filter(|answer| answer.calls.is_ok()).count();
        valid += good;
        let tokens = round.iter().map(|answer| answer.tokens).sum::<usize>() / round.len().max(1);
        let mut tools = BTreeMap::new();
        for name in round
            .iter()
            .filter_map(|answer| answer.calls.as_ref().ok())
            .flatten()
        {
            *tools.entry(name.as_str()).or_insert(0) += 1;
        }
        let tools: Vec<_> = tools
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!(
            "| {question} | {good} of {} | {tokens} | {} |",
            round.len(),
            tools.join(", ")
        );
    }
    println!("\n{valid} of {} answers are valid calls.", answers.len());
    for answer in answers {
        if let Err(error) = &answer.calls {
            println!("\n- {}: {error:#}", answer.question);
        }
    }
    ensure!(valid == answers.len(), "not every answer is a valid call");
    Ok(())
}
