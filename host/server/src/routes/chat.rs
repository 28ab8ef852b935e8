//! POST /v1/chat/completions: from the request to a plan for the engine, and from its steps to the answer.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use weir_output::{RequestContext, Tool, ToolCallStreaming, ToolChoice};
use weir_prompt::{ChatTemplate, Conversation};
use weir_protocol::{ChatRequest, ToolDefinition};

use super::{
    body::{JsonBody, list_ignored},
    chat_answer::{self, ChatChunks, Head},
};
use crate::{
    active_plugins::ActivePlugins,
    error::ApiError,
    generation::{self, Plan},
    sse,
    state::{AppState, ServedModel},
};

/// Characters of the prompt's end that parsers see: room for the header of the answer and an open reasoning block.
const PROMPT_TAIL: usize = 4096;

/// Answers a chat request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let guard = state.admit()?;
    let deadline = generation::deadline(state.settings.request_timeout);
    let mut request = ChatRequest::from_json(body)?;
    let model = state.model_named(request.model.as_deref())?;
    model.generator()?;
    let (n, stream, include_usage) = (request.n, request.stream, request.include_usage);
    let ignored = std::mem::take(&mut request.ignored_fields);
    let plan = plan_in_background(&state, model, request).await?;
    let tool_choice = plan.context.tool_choice.clone();
    let head = Head::new(model);
    let steps = generation::generate(model, vec![plan], n, deadline)?;
    let mut response = if stream {
        let keep_name = state.settings.tool_name_in_every_delta;
        let chunks = ChatChunks::new(head, n, tool_choice, include_usage, keep_name);
        sse::respond(steps, chunks, state.settings.keep_alive, guard).await?
    } else {
        chat_answer::fold(steps, head, n, &tool_choice)
            .await?
            .into_response()
    };
    list_ignored(&mut response, &ignored);
    Ok(response)
}

/// Rendering and encoding a long prompt takes long enough to keep other requests waiting: not on an async worker.
async fn plan_in_background(
    state: &AppState,
    model: &Arc<ServedModel>,
    request: ChatRequest,
) -> Result<Plan, ApiError> {
    let streaming = match request.tool_call_streaming {
        _ if !request.stream => ToolCallStreaming::Complete,
        Some(weir_protocol::ToolCallStreaming::Complete) => ToolCallStreaming::Complete,
        Some(weir_protocol::ToolCallStreaming::Incremental) => ToolCallStreaming::Incremental,
        None => state.settings.tool_call_streaming,
    };
    let model = Arc::clone(model);
    let planned = tokio::task::spawn_blocking(move || plan(&model, request, streaming));
    planned
        .await
        .unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

fn plan(
    model: &ServedModel,
    request: ChatRequest,
    tool_call_streaming: ToolCallStreaming,
) -> Result<Plan, ApiError> {
    // Tools that may not be called stay out of the prompt, so that the model does not try.
    let tools = match request.tool_choice {
        weir_protocol::ToolChoice::None => Vec::new(),
        weir_protocol::ToolChoice::Auto => request.tools,
    };
    let plugins = model.plugins.get();
    if !tools.is_empty() && plugins.tool_parser.is_none() {
        let message = "`tools` need a tool-call parser, and none is known for this model: start the server with --tool-call-parser NAME";
        return Err(ApiError::bad_request(message).with_param("tools"));
    }
    let template = choose_template(model, &plugins, !tools.is_empty())?;
    let context_tools = tools.iter().map(describe_tool).collect::<Vec<_>>();
    let text = template.render(&Conversation {
        messages: request.messages,
        tools: tools.into_iter().map(|tool| tool.raw).collect(),
        add_generation_prompt: request.add_generation_prompt,
        continue_final_message: request.continue_final_message,
        kwargs: request.chat_template_kwargs,
    })?;
    let context = RequestContext {
        tool_choice: if context_tools.is_empty() {
            ToolChoice::None
        } else {
            ToolChoice::Auto
        },
        tools: context_tools,
        parallel_tool_calls: request.parallel_tool_calls,
        prompt_tail: tail(&text, PROMPT_TAIL).to_owned(),
        ..RequestContext::default()
    };
    let prompt = model.tokenizer.encode(&text, false)?;
    Ok(Plan {
        prompt,
        sampling: request.sampling,
        parse: true,
        plugins,
        context,
        tool_call_streaming,
    })
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
