"""anthropic-python, over /v1/messages."""

import anthropic

from checks import HELLO, WEATHER, get_weather, run, target

url, name = target()
client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
TOOL = {"name": "get_weather", "description": "The weather in a city.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}  # fmt: skip


def ask(messages, **more):
    return client.messages.create(model=name, max_tokens=200, messages=messages, **more)


def user(content):
    return {"role": "user", "content": content}


def stream():
    with client.messages.stream(model=name, max_tokens=200, messages=[user(HELLO)]) as events:
        return list(events.text_stream)


def tools():
    assert client.messages.count_tokens(model=name, messages=[user(WEATHER)], tools=[TOOL]).input_tokens > 0
    answer = ask([user(WEATHER)], tools=[TOOL])
    assert answer.stop_reason == "tool_use", answer
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": get_weather(**block.input)}
        for block in answer.content
        if block.type == "tool_use"
    ]
    return ask([user(WEATHER), {"role": "assistant", "content": answer.content}, user(results)], tools=[TOOL]).content[0].text


run(plain=lambda: ask([user(HELLO)]).content[0].text, stream=stream, tools=tools)
