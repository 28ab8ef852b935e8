//! What chat templates take for granted of the Python around them: functions, filters, spellings of values.

use minijinja::{
    Environment, Error, ErrorKind, Output, State, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, ValueKind},
};
use thiserror::Error;

use super::{
    json::{DumpOptions, dumps},
    methods,
    text::{join, string, text},
};

/// Why a template refused a conversation.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

/// An environment without templates that behaves as Hugging Face's does.
pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(python_formatter);
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", string);
    environment.add_filter("join", join);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_function("raise_exception", raise_exception);
    set_clock(&mut environment, minijinja_contrib::globals::now);
    Ok(environment)
}

/// What `strftime_now` takes for now, in seconds since 1970. It tells UTC: a server's answer does not depend on where it
/// stands.
pub(super) fn set_clock(
    environment: &mut Environment<'static>,
    clock: impl Fn() -> Value + Send + Sync + 'static,
) {
    environment.add_function("strftime_now", move |state: &State, format: String| {
        let format = Kwargs::from_iter([("format", Value::from(format))]);
        minijinja_contrib::filters::datetimeformat(state, clock(), format)
    });
}

/// `{% generation %}` marks what training learns from; for inference it is a block like any other, so it becomes one that
/// keeps the white space control on both sides.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        result.push_str(before);
        rest = tag;
        for (name, replacement) in [("generation", " if true "), ("endgeneration", " endif ")] {
            if let Some((open, close, after)) = bare_tag(tag, name) {
                result.extend([open, replacement, close]);
                rest = after;
            }
        }
    }
    result.push_str(rest);
    result
}

/// Splits the inside of a block tag that holds nothing but `name` into its white space control on the left, its end, and
/// what follows.
fn bare_tag<'s>(tag: &'s str, name: &str) -> Option<(&'s str, &'s str, &'s str)> {
    let (open, inside) = tag.split_at(usize::from(tag.starts_with(['-', '+'])));
    let after_name = inside.trim_start().strip_prefix(name)?.trim_start();
    let close = ["-%}", "+%}", "%}"]
        .into_iter()
        .find(|close| after_name.starts_with(close))?;
    let (close, after) = after_name.split_at(close.len());
    Some((open, close, after))
}

/// Prints values as Python does; the rest as it is, for no chat template wants HTML escapes.
fn python_formatter(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => {
            output.write_str(&text(value)).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(output, state, value),
    }
}

/// Whether Python can loop over a value: templates look whether there are tools in this way.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Whether a value has a length and items in Python: text and mappings do.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map
    )
}

/// `tojson(indent=None, separators=None, ensure_ascii=False, sort_keys=False)`.
fn tojson(value: Value, kwargs: Kwargs) -> Result<String, Error> {
    let mut options = DumpOptions::new(kwargs.get("indent")?);
    if let Some(separators) = kwargs.get::<Option<Vec<String>>>("separators")? {
        let [item, key] = <[String; 2]>::try_from(separators)
            .map_err(|_| Error::new(ErrorKind::InvalidOperation, "separators are two strings"))?;
        options.item_separator = item;
        options.key_separator = key;
    }
    options.ensure_ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let text = if kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false) {
        serde_json::to_value(&value).and_then(|mut value| {
            value.sort_all_objects();
            dumps(&value, options)
        })
    } else {
        dumps(&value, options)
    };
    kwargs.assert_all_used()?;
    text.map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "the value is not JSON").with_source(error)
    })
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(
        Error::new(ErrorKind::InvalidOperation, "the template refused")
            .with_source(Refusal(message)),
    )
}
