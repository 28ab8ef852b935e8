"""anthropic-python: /v1/messages and its token counts. A call comes in a stream, its result goes back without one."""

import anthropic
from asked import HELLO, WEATHER, answer, get_weather, target

url, name = target()
client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "The weather in a city.", "input_schema": SCHEMA}


def user(content):
    return {"role": "user", "content": content}


def ask(messages, **more):
    return client.messages.create(model=name, max_tokens=200, messages=messages, **more)


def stream():
    with client.messages.stream(model=name, max_tokens=200, messages=[user(HELLO)]) as events:
        return list(events.text_stream)


def tools():
    question = [user(WEATHER)]
    assert client.messages.count_tokens(model=name, messages=question, tools=[TOOL]).input_tokens > 0
    with client.messages.stream(model=name, max_tokens=200, messages=question, tools=[TOOL]) as events:
        called = events.get_final_message()
    assert called.stop_reason == "tool_use", called
    calls = [block for block in called.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": get_weather(**call.input)} for call in calls]
    said = ask([*question, {"role": "assistant", "content": called.content}, user(results)], tools=[TOOL])
    return said.content[0].text


answer(plain=lambda: ask([user(HELLO)]).content[0].text, stream=stream, tools=tools)
