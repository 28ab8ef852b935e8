"""LiteLLM. A call comes in a stream, its result goes back without one."""

import json

import litellm
from asked import HELLO, WEATHER, answer, get_weather, target

url, name = target()
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": PARAMETERS}}


def ask(messages, **more):
    return litellm.completion(model=f"openai/{name}", api_base=f"{url}/v1", api_key="any", messages=messages, max_retries=0, **more)


def user(text):
    return [{"role": "user", "content": text}]


def stream():
    deltas = [chunk.choices[0].delta.content for chunk in ask(user(HELLO), stream=True)]
    return [delta for delta in deltas if delta]


def tools():
    messages = user(WEATHER)
    chunks = list(ask(messages, tools=[TOOL], stream=True))
    message = litellm.stream_chunk_builder(chunks, messages=messages).choices[0].message
    messages.append(message.model_dump())
    for call in message.tool_calls:
        content = get_weather(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    return ask(messages, tools=[TOOL]).choices[0].message.content


answer(plain=lambda: ask(user(HELLO)).choices[0].message.content, stream=stream, tools=tools)
