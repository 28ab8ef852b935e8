"""LiteLLM."""

import json

import litellm

from checks import HELLO, WEATHER, get_weather, run, target

url, name = target()
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip


def ask(messages, **more):
    return litellm.completion(model=f"openai/{name}", api_base=f"{url}/v1", api_key="any", messages=messages, **more)


def user(text):
    return [{"role": "user", "content": text}]


def tools():
    messages = user(WEATHER)
    message = ask(messages, tools=[TOOL]).choices[0].message
    messages.append(message.model_dump())
    for call in message.tool_calls:
        content = get_weather(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    return ask(messages, tools=[TOOL]).choices[0].message.content


run(
    plain=lambda: ask(user(HELLO)).choices[0].message.content,
    stream=lambda: [chunk.choices[0].delta.content for chunk in ask(user(HELLO), stream=True) if chunk.choices[0].delta.content],
    tools=tools,
)
