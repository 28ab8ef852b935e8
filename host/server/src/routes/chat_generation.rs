//! From a chat request to its running generation: the one path of all routes that hold a conversation, whatever their wire.
//!
//! A route reads its own body into a `ChatRequest`, starts it here and makes its own answer of the steps.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use weir_output::{
    Configured, RequestContext, RequestProcessor, Tool, ToolCallStreaming, ToolChoice,
};
use weir_prompt::{ChatTemplate, Conversation};
use weir_protocol::{ChatRequest, Invalid, RequestOptions, SamplingFields, ToolDefinition};

use super::{
    background::in_background,
    chat_planning::{self, Judge, Planning, Said},
};
use crate::{
    active_plugins::ActivePlugins,
    constraints,
    error::ApiError,
    generation::{self, Plan, Steps},
    keys::Caller,
    state::{AppState, RequestGuard, ServedModel},
};

/// The plugin of several candidates, and what it is told of a request.
const MPR: &str = "mpr";
const MPR_CANDIDATES: &str = "mpr_candidates";

/// Characters of the prompt's end that parsers see: room for the header of the answer and an open reasoning block.
const PROMPT_TAIL: usize = 4096;

/// A chat request under way.
pub(super) struct ChatGeneration {
    /// Who answers.
    pub(super) model: Arc<ServedModel>,
    /// What it says, as it comes; dropped, the generation is aborted.
    pub(super) steps: Steps,
    /// Which tools may be called.
    pub(super) tool_choice: ToolChoice,
    /// The prompt's token ids, where they are to be told beside the answer and are known before it; else none.
    pub(super) prompt: Vec<Vec<u32>>,
    /// What chooses among its answers, where that is a plugin.
    pub(super) judge: Option<Judge>,
    /// Counts the request as running; held until the answer is complete.
    pub(super) guard: RequestGuard,
}

/// Submits the answers that are to be made (`ChatRequest::made`) to the model that is asked for.
///
/// # Errors
/// 503 while the server drains or the model loads, 404 for another model, 400 for what the template, the tokenizer or the
/// engine refuses, 429 for a full queue and for a caller that has reached a limit, 403 for a model that is not for it.
pub(super) async fn start(
    state: &Arc<AppState>,
    caller: &Caller,
    request: ChatRequest,
) -> Result<ChatGeneration, ApiError> {
    begin(state, caller, request, false).await
}

/// As [`start`], for an API whose `max_tokens` every request must have and none can know: it gives way to what the prompt
/// leaves of the context.
///
/// # Errors
/// As for [`start`].
pub(super) async fn start_within_context(
    state: &Arc<AppState>,
    caller: &Caller,
    request: ChatRequest,
) -> Result<ChatGeneration, ApiError> {
    begin(state, caller, request, true).await
}

/// The message that a document is.
fn about(text: &str) -> Value {
    json!({"role": "system", "content": text})
}

/// Has the request processors of each model read each preloaded document, so that the first question need not wait.
pub(crate) async fn read_preloaded(state: Arc<AppState>) {
    let models: Vec<_> = state
        .models
        .served()
        .map(|(_, model)| Arc::clone(model))
        .collect();
    for model in models.into_iter().filter(|model| model.generator.is_some()) {
        let call = Call {
            state: Arc::clone(&state),
            model,
            caller: Caller::anonymous(),
            deadline: None,
            within_context: false,
            judged: None,
        };
        for (name, text) in state.preloaded.iter() {
            let body = json!({"messages": [about(text), {"role": "user", "content": "?"}]});
            let began = Instant::now();
            match chat_planning::read(&call, body).await {
                Ok(()) => tracing::info!(
                    document = name,
                    ms = began.elapsed().as_millis(),
                    "preloaded"
                ),
                Err(error) => {
                    tracing::warn!(document = name, error = error.word(), "not preloaded");
                }
            }
        }
    }
}

/// Who asks whom, and for how long: what every generation of a request has in common.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) state: Arc<AppState>,
    pub(super) model: Arc<ServedModel>,
    pub(super) caller: Caller,
    pub(super) deadline: Option<Instant>,
    /// `max_tokens` gives way to what the prompt leaves of the context.
    pub(super) within_context: bool,
    /// Where the request is put whose answers are chosen among.
    pub(super) judged: Option<Arc<OnceLock<ChatRequest>>>,
}

async fn begin(
    state: &Arc<AppState>,
    caller: &Caller,
    mut request: ChatRequest,
    within_context: bool,
) -> Result<ChatGeneration, ApiError> {
    let guard = state.admit(caller)?;
    let deadline = generation::deadline(state.settings.request_timeout);
    let model = Arc::clone(state.model_named(request.model.as_deref())?);
    caller.check_model(request.model.as_deref(), model.id())?;
    model.generator()?;
    if request.sampling.return_token_ids {
        model.check_tokenizer("return_token_ids", "token ids")?;
    } else if request.options.annotations.any() {
        model.check_tokenizer("nvext.annotations", "token ids")?;
    }
    let mut call = Call {
        state: Arc::clone(state),
        model: Arc::clone(&model),
        caller: caller.clone(),
        deadline,
        within_context,
        judged: None,
    };
    let judge = Judge::of(&mut call, &request).await?;
    if let Some(name) = request.document.take() {
        let text = state.preloaded.named(&name)?;
        request.messages.insert(0, about(text));
    }
    let tool_choice = tool_choice(&request);
    let processors = processors(&model, &mut request).await?;
    let (steps, prompt) = if processors.is_empty() {
        generate(&call, request).await?
    } else {
        planned(call, request, processors).await?
    };
    Ok(ChatGeneration {
        model,
        steps,
        tool_choice,
        prompt: prompt.into_iter().collect(),
        judge,
        guard,
    })
}

/// The processors of a request: those of the model, and the one of several candidates where the request or the server wants them.
async fn processors(
    model: &ServedModel,
    request: &mut ChatRequest,
) -> Result<Vec<Configured<dyn RequestProcessor>>, ApiError> {
    let plugins = model.plugins.get();
    let mut processors = plugins.request_processors.clone();
    let Some(candidates) = request.mpr_candidates.or(model.defaults.mpr_candidates) else {
        return Ok(processors);
    };
    request
        .parameters
        .push((MPR_CANDIDATES.to_owned(), candidates.to_string()));
    let is_there = processors.iter().any(|own| own.plugin.info().name == MPR);
    if candidates < 2 || is_there {
        return Ok(processors);
    }
    let Some(load) = plugins.on_request.clone() else {
        return Err(Invalid::not_implemented(MPR_CANDIDATES, "this field").into());
    };
    let load = move || load(MPR).map_err(|error| ApiError::internal(&error));
    processors.push(in_background(load).await?);
    Ok(processors)
}

/// The same behind request processors. What they show is streamed while they plan; then the prompt is not known here.
async fn planned(
    call: Call,
    request: ChatRequest,
    processors: Vec<Configured<dyn RequestProcessor>>,
) -> Result<(Steps, Option<Vec<u32>>), ApiError> {
    let made = request.made();
    // What generates may take long: then the stream keeps its connection alive.
    let generates = processors
        .iter()
        .any(|own| own.plugin.grants().generations > 0);
    let at_once = request.stream && generates;
    let mut planning = Planning::new(call, request, processors);
    if at_once {
        return Ok((chat_planning::steps(planning, None, made), None));
    }
    let began = Instant::now();
    let said = planning.next().await?;
    tracing::debug!(ms = began.elapsed().as_millis(), "planned");
    match said {
        Said::Shown(first) => Ok((chat_planning::steps(planning, Some(first), made), None)),
        Said::Ended(ending) => chat_planning::answer(planning, ending, made).await,
    }
}

/// Submits the answers to a request as it stands; answers their steps, and the prompt if it is to be told.
///
/// # Errors
/// 400 for what the template, the tokenizer or the engine refuses, 429 for a full queue.
pub(super) async fn generate(
    call: &Call,
    request: ChatRequest,
) -> Result<(Steps, Option<Vec<u32>>), ApiError> {
    let Call { state, model, .. } = call;
    if let Some(judged) = &call.judged {
        // It is generated once.
        drop(judged.set(request.clone()));
    }
    let (n, made) = (request.n, request.made());
    let token_ids = request.sampling.return_token_ids;
    let told = token_ids || request.options.annotations.any();
    let mut plan = plan_in_background(state, model, request).await?;
    if call.within_context {
        let prompt = model.prompt_tokens(&plan.prompt);
        let left = model.max_model_len.saturating_sub(prompt).max(1);
        plan.sampling.max_tokens = plan.sampling.max_tokens.map(|most| most.min(left));
    }
    if made > n || token_ids {
        // The best are chosen by their tokens' log-probabilities; an end token is told only with its own.
        plan.sampling.logprobs.get_or_insert(0);
    }
    let prompt = told.then(|| plan.prompt.clone());
    let steps = generation::generate(model, vec![plan], made, call.deadline, &call.caller)?;
    Ok((steps, prompt))
}

/// Rendering and encoding a long prompt takes long enough to keep other requests waiting: not on an async worker.
pub(super) async fn plan_in_background(
    state: &AppState,
    model: &Arc<ServedModel>,
    request: ChatRequest,
) -> Result<Plan, ApiError> {
    let streaming = match request.tool_call_streaming {
        Some(weir_protocol::ToolCallStreaming::Complete) => ToolCallStreaming::Complete,
        Some(weir_protocol::ToolCallStreaming::Incremental) => ToolCallStreaming::Incremental,
        None => state.settings.tool_call_streaming,
    };
    let streaming = match streaming {
        ToolCallStreaming::Incremental if !request.stream => ToolCallStreaming::Folded,
        streaming => streaming,
    };
    let model = Arc::clone(model);
    in_background(move || plan(&model, request, streaming)).await
}

fn plan(
    model: &ServedModel,
    request: ChatRequest,
    tool_call_streaming: ToolCallStreaming,
) -> Result<Plan, ApiError> {
    let tool_choice = tool_choice(&request);
    // Tools that may not be called stay out of the prompt, so that the model does not try.
    let tools = match request.tool_choice {
        weir_protocol::ToolChoice::None => Vec::new(),
        _ => request.tools,
    };
    let plugins = model.plugins.get();
    if !tools.is_empty() && plugins.tool_parser.is_none() {
        let message = "`tools` need a tool-call parser, and none is known for this model: start the server with --tool-call-parser NAME";
        return Err(ApiError::bad_request(message).with_param("tools"));
    }
    let context_tools = tools.iter().map(describe_tool).collect::<Vec<_>>();
    if request.options.use_raw_prompt {
        model.check_tokenizer("nvext.use_raw_prompt", "a prompt without a template")?;
    }
    let text = if request.options.use_raw_prompt {
        raw_prompt(&request.messages)
    } else {
        let with_tools = !tools.is_empty();
        let conversation = Conversation {
            messages: request.messages,
            tools: tools.into_iter().map(|tool| tool.raw).collect(),
            add_generation_prompt: request.add_generation_prompt,
            continue_final_message: request.continue_final_message,
            kwargs: request.chat_template_kwargs,
        };
        match model.passes_messages {
            true => passed_on(conversation).to_string(),
            false => choose_template(model, &plugins, with_tools)?.render(&conversation)?,
        }
    };
    let format = request.options.answer_format.as_ref();
    let context = RequestContext {
        tool_choice,
        tools: context_tools,
        parallel_tool_calls: request.parallel_tool_calls,
        response_format: constraints::response_format(format),
        prompt_tail: match model.passes_messages {
            // What the engine's template writes nobody here knows.
            true => String::new(),
            false => tail(&text, PROMPT_TAIL).to_owned(),
        },
        ..RequestContext::default()
    };
    let constraint = model.constraints.of_chat(&plugins, &context, format)?;
    let budget = request
        .options
        .reasoning_budget
        .or(model.defaults.reasoning_budget);
    let reasoning_budget = model
        .constraints
        .reasoning_budget(&plugins, &context, budget)?;
    if request.options.truncate_prompt_tokens.is_some() {
        model.check_tokenizer("truncate_prompt_tokens", "a prompt cut by tokens")?;
    }
    let add_special = request.options.add_special_tokens.unwrap_or(false);
    let mut prompt = model.tokenizer.encode(&text, add_special)?;
    cut_prompt(model, &mut prompt, &request.sampling, &request.options);
    Ok(Plan {
        prompt,
        embeddings: None,
        sampling: request.sampling,
        parse: true,
        plugins,
        context,
        tool_call_streaming,
        constraint,
        reasoning_budget,
    })
}

/// Which tools may be called; none where there are none.
pub(super) fn tool_choice(request: &ChatRequest) -> ToolChoice {
    match &request.tool_choice {
        _ if request.tools.is_empty() => ToolChoice::None,
        weir_protocol::ToolChoice::None => ToolChoice::None,
        weir_protocol::ToolChoice::Auto => ToolChoice::Auto,
        weir_protocol::ToolChoice::Required => ToolChoice::Required,
        weir_protocol::ToolChoice::Named(name) => ToolChoice::Named(name.clone()),
    }
}

/// The fields of a chat for an engine that has the template itself; those that say nothing are left out, as not every engine
/// knows them.
fn passed_on(conversation: Conversation) -> Value {
    let mut fields = Map::new();
    fields.insert("messages".to_owned(), conversation.messages.into());
    if !conversation.tools.is_empty() {
        fields.insert("tools".to_owned(), conversation.tools.into());
    }
    if !conversation.kwargs.is_empty() {
        fields.insert(
            "chat_template_kwargs".to_owned(),
            conversation.kwargs.into(),
        );
    }
    if conversation.continue_final_message {
        fields.insert("continue_final_message".to_owned(), true.into());
    }
    if !conversation.add_generation_prompt {
        fields.insert("add_generation_prompt".to_owned(), false.into());
    }
    fields.into()
}

/// The messages without a template: their contents, a line break between them.
fn raw_prompt(messages: &[Value]) -> String {
    let contents = messages
        .iter()
        .filter_map(|message| message["content"].as_str());
    contents.collect::<Vec<_>>().join("\n")
}

/// Drops a prompt's first tokens, as far as the request wants that.
pub(super) fn cut_prompt(
    model: &ServedModel,
    prompt: &mut Vec<u32>,
    sampling: &SamplingFields,
    options: &RequestOptions,
) {
    let keep = match options.truncate_prompt_tokens {
        None => return,
        // As many as leave room for the answer.
        Some(0) => {
            let answer = sampling.max_tokens.unwrap_or(1);
            model.max_model_len.saturating_sub(answer).max(1)
        }
        Some(keep) => keep,
    };
    prompt.drain(..prompt.len().saturating_sub(keep));
}

/// The model's own template, unless tools are given that it does not take and the tool parser recommends one that does.
fn choose_template<'a>(
    model: &'a ServedModel,
    plugins: &'a ActivePlugins,
    with_tools: bool,
) -> Result<&'a ChatTemplate, ApiError> {
    let own = match &model.tool_chat_template {
        Some(with_tools_only) if with_tools => Some(with_tools_only),
        _ => model.chat_template.as_ref(),
    };
    match (own, &plugins.tool_template) {
        (Some(own), _) if !with_tools || own.takes_tools() => Ok(own),
        (_, Some(recommended)) => Ok(recommended),
        (Some(_), _) => {
            let message = "this model's chat template takes no tools, and its tool-call parser recommends none: start the server with --chat-template FILE";
            Err(ApiError::bad_request(message).with_param("tools"))
        }
        (None, _) => {
            let message = "this model has no chat template: start the server with --chat-template FILE, or use /v1/completions";
            Err(ApiError::bad_request(message).with_param("messages"))
        }
    }
}

fn describe_tool(tool: &ToolDefinition) -> Tool {
    Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.to_string(),
        strict: tool.strict,
    }
}

/// The last `characters` characters.
fn tail(text: &str, characters: usize) -> &str {
    let start = text
        .char_indices()
        .rev()
        .nth(characters.saturating_sub(1))
        .map_or(0, |(start, _)| start);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn the_tail_counts_characters() {
        assert_eq!(tail("aéß", 2), "éß");
        assert_eq!(tail("aéß", 3), "aéß");
        assert_eq!(tail("aéß", 9), "aéß");
        assert_eq!(tail("", 4), "");
    }
}
