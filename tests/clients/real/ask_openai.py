"""openai-python, its helpers for answers within a schema: of chat completions, of responses, and of strict tools."""

import json

import openai
from asked import HELLO, WEATHER, answer, get_weather, target
from openai import OpenAI
from visitor import INVENT, MAX_TOKENS, Visitor

url, name = target()
client = OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
SAID = [{"role": "user", "content": HELLO}]
ASKED = [{"role": "user", "content": INVENT}]


def stream():
    chunks = client.chat.completions.create(model=name, messages=SAID, stream=True)
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    return [delta for delta in deltas if delta]


def structured():
    chat = client.chat.completions.parse(model=name, messages=ASKED, response_format=Visitor, max_tokens=MAX_TOKENS)
    response = client.responses.parse(model=name, input=INVENT, text_format=Visitor, max_output_tokens=MAX_TOKENS)
    tool = openai.pydantic_function_tool(Visitor, name="greet")
    forced = client.chat.completions.parse(model=name, messages=ASKED, tools=[tool], tool_choice="required", max_tokens=MAX_TOKENS)
    (call, *_) = forced.choices[0].message.tool_calls
    visitors = [chat.choices[0].message.parsed, response.output_parsed, call.function.parsed_arguments]
    return [visitor.model_dump_json() for visitor in visitors]


def tools():
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    messages = [{"role": "user", "content": WEATHER}]
    message = client.chat.completions.create(model=name, messages=messages, tools=[tool]).choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    for call in message.tool_calls:
        content = get_weather(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    return client.chat.completions.create(model=name, messages=messages, tools=[tool]).choices[0].message.content


answer(
    plain=lambda: client.chat.completions.create(model=name, messages=SAID).choices[0].message.content,
    stream=stream,
    tools=tools,
    structured=structured,
)
