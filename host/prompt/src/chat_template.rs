//! A model's chat template: messages and tools become the text the model was trained on.
//!
//! Templates are Jinja as Hugging Face's server-side Python renders it: block tags swallow their line, Python's string
//! methods work, `tojson` writes what `json.dumps` writes. What shape of message a template expects (content as a string
//! or as parts, arguments as an object or as text) is found out once, by rendering small conversations at load.
//!
//! Templates come from the operator or the model's files, never from a request. Time, recursion and the size of the result
//! are bounded; the memory of intermediate strings is not.

mod bounded;
mod json;
mod methods;
mod probe;
mod python;
mod text;

use std::error::Error as _;

use minijinja::{Environment, ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::PromptError,
    messages::{self, MessageStyle},
};
use bounded::BoundedOutput;

/// Instructions one rendering may take: a 1,000-message conversation with a large template needs under a million.
const MAX_INSTRUCTIONS: u64 = 10_000_000;
/// Bytes one rendering may give.
const MAX_RENDERED_BYTES: usize = 256 << 20;
/// The template's name in error messages.
const NAME: &str = "chat_template";
/// Put at the end of a message that is to be continued, to find that place in the rendered text. The code points are
/// permanently unassigned and mean nothing in text. The space behind them tells whether the template trims the message.
const CONTINUE_HERE: &str = "\u{fdd0}\u{fdd1}\u{fdd0} ";

/// The tokens a template may write by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpecialTokens {
    /// `bos_token`.
    #[serde(rename = "bos_token")]
    pub bos: Option<String>,
    /// `eos_token`.
    #[serde(rename = "eos_token")]
    pub eos: Option<String>,
    /// `unk_token`.
    #[serde(rename = "unk_token")]
    pub unk: Option<String>,
    /// `pad_token`.
    #[serde(rename = "pad_token")]
    pub pad: Option<String>,
}

/// What is rendered.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conversation {
    /// The messages as OpenAI's API has them.
    pub messages: Vec<Value>,
    /// The tools as OpenAI's API has them (`{"type": "function", "function": {...}}`).
    pub tools: Vec<Value>,
    /// Ends with the header of the answer.
    pub add_generation_prompt: bool,
    /// Ends inside the last message, which the model goes on writing. Not together with `add_generation_prompt`.
    pub continue_final_message: bool,
    /// Further variables (`chat_template_kwargs`); they cannot replace the ones above.
    pub kwargs: Map<String, Value>,
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special: SpecialTokens,
    style: MessageStyle,
    takes_tools: bool,
}

impl ChatTemplate {
    /// Compiles a template and finds out what shape of message it expects.
    ///
    /// # Errors
    /// When the source is not Jinja.
    pub fn new(source: &str, special: SpecialTokens) -> Result<Self, PromptError> {
        let mut environment =
            python::environment().map_err(|error| PromptError::TemplateSyntax(one_line(&error)))?;
        environment.set_fuel(Some(MAX_INSTRUCTIONS));
        environment
            .add_template_owned(NAME, python::without_generation_tags(source))
            .map_err(|error| PromptError::TemplateSyntax(one_line(&error)))?;
        let variables = compiled(&environment)?.undeclared_variables(false);
        let mut template = Self {
            environment,
            special,
            style: MessageStyle::default(),
            takes_tools: variables.contains("tools"),
        };
        template.style = probe::message_style(&template);
        Ok(template)
    }

    /// With a clock that stands still, so that a template which writes the date always writes this one.
    #[must_use]
    pub fn with_fixed_time(mut self, unix_seconds: i64) -> Self {
        python::set_clock(&mut self.environment, move || unix_seconds.into());
        self
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// `Conversation` when the messages cannot be rendered by any template, `Template` when this one refuses them,
    /// `Render` when it breaks.
    pub fn render(&self, conversation: &Conversation) -> Result<String, PromptError> {
        let mut messages = messages::normalise(&conversation.messages, &self.style)?;
        if !conversation.continue_final_message {
            return self.render_normalised(messages, conversation);
        }
        if conversation.add_generation_prompt {
            return Err(PromptError::Conversation(
                "continue_final_message and add_generation_prompt exclude each other".to_owned(),
            ));
        }
        messages::mark_end(&mut messages, CONTINUE_HERE)?;
        let mut text = self.render_normalised(messages, conversation)?;
        let Some(end) = text.rfind(CONTINUE_HERE.trim_end()) else {
            return Err(PromptError::Conversation(
                "the chat template does not write the last message, so it cannot be continued"
                    .to_owned(),
            ));
        };
        let trimmed = !text[end..].starts_with(CONTINUE_HERE);
        text.truncate(end);
        if trimmed {
            text.truncate(text.trim_end().len());
        }
        Ok(text)
    }

    /// Whether the template looks at the tools of a request at all.
    pub fn takes_tools(&self) -> bool {
        self.takes_tools
    }

    /// Renders messages that are in the template's own shape already.
    fn render_normalised(
        &self,
        messages: Vec<Value>,
        conversation: &Conversation,
    ) -> Result<String, PromptError> {
        let mut variables = conversation.kwargs.clone();
        let SpecialTokens { bos, eos, unk, pad } = &self.special;
        for (name, token) in [
            ("bos_token", bos),
            ("eos_token", eos),
            ("unk_token", unk),
            ("pad_token", pad),
        ] {
            if let Some(token) = token {
                variables.insert(name.to_owned(), Value::from(token.as_str()));
            }
        }
        // Templates tell "no tools" by none, some by their absence from the list: never an empty list.
        let tools = if conversation.tools.is_empty() {
            Value::Null
        } else {
            Value::from(conversation.tools.clone())
        };
        variables.insert("tools".to_owned(), tools);
        variables.entry("documents").or_insert(Value::Null);
        variables.insert("messages".to_owned(), Value::from(messages));
        variables.insert(
            "add_generation_prompt".to_owned(),
            Value::from(conversation.add_generation_prompt),
        );

        let mut output = BoundedOutput::new(MAX_RENDERED_BYTES);
        compiled(&self.environment)?
            .render_captured_to(minijinja::value::Serde(&variables), &mut output)
            .map_err(|error| render_error(&error))?;
        output.into_text()
    }
}

fn compiled<'a>(
    environment: &'a Environment<'static>,
) -> Result<minijinja::Template<'a, 'a>, PromptError> {
    environment
        .get_template(NAME)
        .map_err(|error| PromptError::TemplateSyntax(one_line(&error)))
}

/// JSON text as templates write it, for those that expect arguments as text.
pub(crate) fn json_text(value: &Value) -> String {
    json::dumps(value, json::DumpOptions::new(None)).unwrap_or_else(|_| value.to_string())
}

/// A refusal in the template's own words, or what broke.
fn render_error(error: &minijinja::Error) -> PromptError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(python::Refusal(message)) = inner.downcast_ref() {
            return PromptError::Template(message.clone());
        }
        source = inner.source();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return PromptError::Render(format!(
            "it takes more than {MAX_INSTRUCTIONS} instructions"
        ));
    }
    PromptError::Render(one_line(error))
}

/// Kind, detail and line, without the source excerpt of minijinja's long form.
fn one_line(error: &minijinja::Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        text = format!("{text}: {detail}");
    }
    match error.line() {
        Some(line) => format!("{text} (line {line})"),
        None => text,
    }
}

#[cfg(test)]
mod tests;
