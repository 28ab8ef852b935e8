"""Answers that must be something: formats in every spelling, calls that must come. Each form is bounded, so that any model comes to its end."""

import json
import re

from asking import HELLO, TOOL, not_elsewhere, of_a_real_model, of_any_model

SCHEMA = {
    "type": "object",
    "properties": {"size": {"enum": ["S", "M"]}, "sure": {"type": "boolean"}},
    "required": ["size", "sure"],
    "additionalProperties": False,
}
JSON = {"type": "json_schema", "json_schema": {"name": "shirt", "schema": SCHEMA, "strict": True}}
SHIRT = {"type": "function", "function": {"name": "order_shirt", "description": "Orders a shirt.", "parameters": SCHEMA}}
MANY = [SHIRT, {**TOOL, "function": {**TOOL["function"], "parameters": {**SCHEMA, "properties": {"size": {"enum": ["L"]}}, "required": ["size"]}}}]
NAMED = {"type": "function", "function": {"name": "order_shirt"}}


def check(text):
    answer = json.loads(text)
    assert set(answer) == {"size", "sure"} and answer["size"] in ("S", "M") and isinstance(answer["sure"], bool), text


@of_any_model
def json_of_a_schema_is_held_in_every_spelling(weir):
    for fields in (
        {"response_format": JSON},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
        {"nvext": {"guided_json": SCHEMA}},
    ):
        choice = weir.chat(**fields, max_tokens=100).choices[0]
        assert choice.finish_reason == "stop", choice
        check(choice.message.content)


@of_any_model
def a_streamed_form_is_held(weir):
    check("".join(chunk.choices[0].delta.content or "" for chunk in weir.stream(response_format=JSON, max_tokens=100)))


@of_any_model
def other_forms_are_held(weir):
    for fields, pattern in (
        ({"guided_choice": ["red", "green"]}, "red|green"),
        ({"structured_outputs": {"choice": ["red", "green"]}}, "red|green"),
        ({"guided_regex": "[a-f]{2}[0-9]"}, "[a-f]{2}[0-9]"),
        ({"response_format": {"type": "regex", "pattern": "[a-f]{2}[0-9]"}}, "[a-f]{2}[0-9]"),
    ):
        text = weir.chat(**fields, max_tokens=50).choices[0].message.content
        assert re.fullmatch(pattern, text), (fields, text)


@not_elsewhere("grammars in Lark's syntax are weir's own engine's: 400")
@of_any_model
def a_lark_grammar_is_held(weir):
    lark = 'start: "a" b\nb: "b" | "c"'
    for fields in ({"guided_grammar": lark}, {"response_format": {"type": "grammar", "grammar": lark}}):
        text = weir.chat(**fields, max_tokens=50).choices[0].message.content
        assert text in ("ab", "ac"), (fields, text)


@of_any_model
def completions_are_held_too(weir):
    check(weir.complete(guided_json=SCHEMA, max_tokens=100).choices[0].text)
    check(weir.complete(response_format=JSON, max_tokens=100).choices[0].text)


@of_any_model
def a_response_is_held(weir):
    text = {"format": {"type": "json_schema", "name": "shirt", "schema": SCHEMA, "strict": True}}
    response = weir.client.responses.create(model=weir.model, input="A shirt!", text=text, max_output_tokens=100)
    check(response.output_text)
    assert response.text.format.type == "json_schema" and response.text.format.name == "shirt", response.text


@of_any_model
def each_choice_is_held(weir):
    answer = weir.chat(response_format=JSON, max_tokens=100, n=3, seed=1, logprobs=True)
    for choice in answer.choices:
        check(choice.message.content)
        assert "".join(token.token for token in choice.logprobs.content) == choice.message.content


@of_any_model
def a_call_must_come(weir):
    for choice, names, finish in (("required", ("order_shirt", "now"), "tool_calls"), (NAMED, ("order_shirt",), "stop")):
        answer = weir.chat(tools=MANY, tool_choice=choice, parallel_tool_calls=False, max_tokens=300).choices[0]
        (call,) = answer.message.tool_calls
        assert call.type == "function" and call.id and call.function.name in names, answer
        assert json.loads(call.function.arguments)["size"] in ("S", "M", "L"), answer
        assert answer.message.content is None and answer.finish_reason == finish, answer


@of_any_model
def a_call_that_must_come_is_streamed(weir):
    name, arguments = "", ""
    for chunk in weir.stream(tools=[SHIRT], tool_choice="required", parallel_tool_calls=False, max_tokens=300):
        for call in chunk.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert name == "order_shirt", name
    check(arguments)


@of_a_real_model
def an_object_of_any_shape_is_json(weir):
    messages = [*HELLO, {"role": "user", "content": 'Answer with {"greeting": "hello"}'}]
    choice = weir.chat(messages, response_format={"type": "json_object"}, temperature=0, max_tokens=400).choices[0]
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict), choice
