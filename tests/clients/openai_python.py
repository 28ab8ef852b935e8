"""openai-python against weir replaying DeepSeek and harmony texts. Usage: openai_python.py PATH_OF_WEIR"""

import contextlib
import json
import sys
import traceback
from pathlib import Path

import openai

from server import server

HERE = Path(__file__).parent
ARGUMENTS = '{"city": "北京", "unit": "celsius", "big": 12345678901234567890}'
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "test",
            "parameters": {"type": "object", "properties": {}},
        },
    }
    for name in ("get_weather", "get_time")
]


@contextlib.contextmanager
def client_of(weir, replay, *flags):
    """A client of a server that replays a file of this folder."""
    with server(weir, f"replay:{HERE / replay}.jsonl", "--served-model-name", replay, *flags) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


def ask(client, text, model="deepseek", **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=messages, **more)


def plain_answer_with_calls(client):
    answer = ask(client, "weather?", tools=TOOLS)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls", choice
    assert choice.message.content == "Let me look that up.", choice.message.content
    assert choice.message.reasoning_content == "The user asks for the weather.", choice.message
    calls = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert calls[0].function.arguments == ARGUMENTS, calls[0].function.arguments
    assert all(call.type == "function" and call.id.startswith("call_") for call in calls)
    assert calls[0].id != calls[1].id
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def streamed_answer_with_calls(client):
    stream = ask(client, "weather?", tools=TOOLS, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    content, reasoning, calls, finish = "", "", {}, []
    for chunk in chunks[:-1]:
        choice = chunk.choices[0]
        content += choice.delta.content or ""
        reasoning += getattr(choice.delta, "reasoning_content", None) or ""
        finish.append(choice.finish_reason)
        for delta in choice.delta.tool_calls or []:
            if delta.index not in calls:
                assert delta.id and delta.type == "function" and delta.function.name, delta
                calls[delta.index] = [delta.function.name, ""]
            else:
                assert delta.id is None and delta.function.name is None, delta
            calls[delta.index][1] += delta.function.arguments or ""
    assert content == "Let me look that up.", content
    assert reasoning == "The user asks for the weather.", reasoning
    assert calls[0] == ["get_weather", ARGUMENTS], calls
    assert json.loads(calls[1][1]) == {"zone": "Asia/Shanghai"}
    assert finish[-1] == "tool_calls" and set(finish[:-1]) == {None}, finish
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.tool_calls) > 4, "arguments stream"


def the_clients_own_accumulator_agrees(client):
    messages = [{"role": "user", "content": "weather?"}]
    with client.chat.completions.stream(model="deepseek", messages=messages, tools=TOOLS) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.arguments == ARGUMENTS


def without_tools_the_text_stays_text(client):
    message = ask(client, "weather?").choices[0].message
    assert message.tool_calls is None and "<｜tool▁calls▁begin｜>" in message.content


def a_cut_call_ends_with_length(client):
    for max_tokens in range(15, 46, 3):
        choice = ask(client, "weather?", tools=TOOLS, max_tokens=max_tokens).choices[0]
        assert choice.finish_reason == "length", choice
        content, arguments = "", None
        for chunk in ask(client, "weather?", tools=TOOLS, max_tokens=max_tokens, stream=True):
            delta = chunk.choices[0].delta
            content += delta.content or ""
            for call in delta.tool_calls or []:
                arguments = (arguments or "") + call.function.arguments
        calls = choice.message.tool_calls
        assert (calls[0].function.arguments if calls else None) == arguments, (max_tokens, calls, arguments)
        assert (choice.message.content or "") == content, (max_tokens, choice, content)
        assert arguments is None or ARGUMENTS.startswith(arguments), arguments
    assert arguments and arguments != ARGUMENTS, arguments


def stop_strings_and_several_choices(client):
    answer = ask(client, "stop here", stop=["three"], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert {choice.message.content for choice in answer.choices} == {"one two "}
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}


def completions_plain_and_streamed(client):
    answer = client.completions.create(model="deepseek", prompt="hello", max_tokens=1000)
    text = "".join(chunk.choices[0].text for chunk in client.completions.create(model="deepseek", prompt="hello", max_tokens=1000, stream=True))
    assert answer.choices[0].text == text and text.endswith("你好，世界。"), text


def errors_are_the_clients_own(client):
    for wrong, kind in (
        (dict(temperature=9), openai.BadRequestError),
        (dict(tool_choice="required"), openai.BadRequestError),
        (dict(stream_options={"include_usage": True}), openai.BadRequestError),
    ):
        try:
            ask(client, "hi", **wrong)
        except kind as error:
            assert error.body["message"], error
        else:
            raise AssertionError(f"{wrong} was taken")
    try:
        client.chat.completions.create(model="other", messages=[{"role": "user", "content": "hi"}])
    except openai.NotFoundError:
        return
    raise AssertionError("an unknown model was taken")


def harmony_streams_reasoning_content_and_call(harmony):
    stream = ask(harmony, "weather?", model="harmony", tools=TOOLS, stream=True)
    deltas = [chunk.choices[0].delta for chunk in stream]
    reasoning = [delta.reasoning_content for delta in deltas if getattr(delta, "reasoning_content", None)]
    content = [delta.content for delta in deltas if delta.content]
    arguments = [call.function.arguments for delta in deltas for call in delta.tool_calls or [] if call.function.arguments]
    assert "".join(reasoning) == "The user asks for the weather." and len(reasoning) > 1, reasoning
    assert "".join(content) == "Let me look that up." and len(content) > 1, content
    assert "".join(arguments) == ARGUMENTS and len(arguments) > 4, arguments


def harmony_calls_and_answers_in_one_piece(harmony):
    choice = ask(harmony, "weather?", model="harmony", tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls", choice
    assert [call.function.name for call in choice.message.tool_calls] == ["get_weather"], choice
    choice = ask(harmony, "hello", model="harmony").choices[0]
    assert choice.finish_reason == "stop", choice
    assert choice.message.reasoning_content == "A short thought.", choice
    assert choice.message.content == "Hello, world. 你好，世界。", choice


def tests_of(parameter):
    functions = [value for value in globals().values() if hasattr(value, "__code__") and value is not ask]
    return [value for value in functions if value.__code__.co_varnames[:1] == (parameter,)]


def run(tests):
    passed, failed = 0, 0
    for test, *arguments in tests:
        try:
            test(*arguments)
            passed += 1
            print("ok  ", test.__name__)
        except Exception:
            failed += 1
            print("FAIL", test.__name__)
            traceback.print_exc()
    return passed, failed


def main():
    passed, failed = 0, 0
    for parameter, replay, flags in (
        ("client", "deepseek", ("--tool-call-parser", "deepseek_v3", "--reasoning_parser", "deepseek_r1")),
        ("harmony", "harmony", ("--reasoning-parser", "gpt_oss")),
    ):
        with client_of(sys.argv[1], replay, *flags) as client:
            assert client.models.list().data[0].id == replay
            more_passed, more_failed = run([(test, client) for test in tests_of(parameter)])
            passed, failed = passed + more_passed, failed + more_failed
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
