"""anthropic-python against weir replaying hermes texts. Usage: anthropic_python.py PATH_OF_WEIR"""

import sys
import traceback
from pathlib import Path

import anthropic

from server import server

HERE = Path(__file__).parent
MODEL = "anthropic"
CITY = {"city": "北京", "unit": "celsius", "big": 12345678901234567890}
TOOLS = [
    {"name": name, "description": "test", "input_schema": {"type": "object", "properties": {}}}
    for name in ("get_weather", "get_time")
]


FLAGS = ("--served-model-name", MODEL, "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3", "--api-key", "secret")


def request(text, **more):
    return dict(model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": text}], **more)


def blocks(message):
    return [block.type for block in message.content]


def contents(message):
    return [block.model_dump(include={"type", "text", "thinking", "signature", "name", "input"}) for block in message.content]


def a_plain_turn(client):
    message = client.messages.create(**request("hello", system=[{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]))
    assert blocks(message) == ["thinking", "text"], message
    assert message.content[0].thinking == "A short thought.", message
    assert message.content[1].text == "Hello, world. 你好，世界。", message
    assert (message.type, message.role, message.stop_reason, message.model) == ("message", "assistant", "end_turn", MODEL)
    assert message.id.startswith("msg_") and message._request_id
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0, message


def a_streamed_turn(client):
    with client.messages.stream(**request("hello")) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == "Hello, world. 你好，世界。", text
    plain = client.messages.create(**request("hello"))
    assert contents(message) == contents(plain), (message, plain)
    assert (message.stop_reason, message.usage.output_tokens) == (plain.stop_reason, plain.usage.output_tokens)


def events_as_they_come(client):
    events = list(client.messages.create(**request("hello", stream=True)))
    assert events[0].type == "message_start" and events[0].message.usage.input_tokens > 0, events[0]
    assert [event.type for event in events[-2:]] == ["message_delta", "message_stop"], events
    assert sum(event.type == "content_block_delta" for event in events) > 4, events


def a_tool_round_trip(client):
    for streamed in (False, True):
        asked = request("weather?", tools=TOOLS)
        if streamed:
            with client.messages.stream(**asked) as stream:
                first = stream.get_final_message()
        else:
            first = client.messages.create(**asked)
        assert first.stop_reason == "tool_use", first
        assert blocks(first) == ["thinking", "text", "tool_use", "tool_use"], first
        calls = first.content[2:]
        assert [call.name for call in calls] == ["get_weather", "get_time"], calls
        assert calls[0].input == CITY and calls[1].input == {"zone": "Asia/Shanghai"}, calls
        assert all(call.id.startswith("toolu_") for call in calls) and calls[0].id != calls[1].id
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "12 degrees"} for call in calls]
        asked["messages"] += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [*results, {"type": "text", "text": "A jacket?"}]},
        ]
        second = client.messages.create(**asked)
        assert (second.stop_reason, second.content[-1].text) == ("end_turn", "Take a jacket."), second


def the_beta_client_with_all_its_fields(client):
    message = client.beta.messages.create(
        **request("hello", tools=[*TOOLS, {"type": "web_search_20250305", "name": "web_search"}]),
        betas=["interleaved-thinking-2025-05-14"],
        thinking={"type": "enabled", "budget_tokens": 1024},
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        metadata={"user_id": "u"},
        service_tier="auto",
        context_management={"edits": []},
        extra_body={"temperature": 0.5, "top_k": 20, "top_p": 0.9},
    )
    assert blocks(message) == ["thinking", "text"], message


def tokens_are_counted_as_they_are_sent(client):
    for more in (dict(), dict(system="Be kind."), dict(tools=TOOLS)):
        counted = request("hello, count me", **more)
        del counted["max_tokens"]
        count = client.messages.count_tokens(**counted).input_tokens
        usage = client.messages.create(**request("hello, count me", **more)).usage
        assert count == usage.input_tokens + usage.cache_read_input_tokens, (count, usage)


def a_prompt_as_large_as_claude_codes(client):
    tools = [{**TOOLS[0], "name": f"Tool{number}", "description": "does this " * 150} for number in range(24)]
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0; cch=0;"},
        {"type": "text", "text": "Follow the rules. " * 2200, "cache_control": {"type": "ephemeral"}},
    ]
    for number in range(2):
        system[0]["text"] = f"x-anthropic-billing-header: cc_version=2.1.0; cch={number:05};"
        message = client.beta.messages.create(**{**request("hello", tools=tools, system=system), "max_tokens": 20_000})
        assert blocks(message) == ["thinking", "text"], message
    # The second is the first again, but for its billing line.
    assert message.usage.cache_read_input_tokens > 75_000 and message.usage.input_tokens < 100, message.usage


def ends_have_their_reasons(client):
    stopped = client.messages.create(**request("stop here", stop_sequences=["three"]))
    assert (stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text) == ("stop_sequence", "three", "one two ")
    cut = client.messages.create(**{**request("cut me", tools=TOOLS), "max_tokens": 20})
    assert cut.stop_reason == "max_tokens" and "tool_use" not in blocks(cut), cut


def a_broken_call_is_text(client):
    plain = client.messages.create(**request("broken", tools=TOOLS))
    with client.messages.stream(**request("broken", tools=TOOLS)) as stream:
        streamed = stream.get_final_message()
    assert contents(plain) == contents(streamed), (plain, streamed)
    assert blocks(plain) == ["text"] and plain.stop_reason == "end_turn", plain


def an_answer_that_was_begun_goes_on(client):
    asked = request("A or B?")
    asked["messages"].append({"role": "assistant", "content": "The best answer is ("})
    assert client.messages.create(**asked).content[0].text == "B)"


def errors_are_the_clients_own(client):
    for wrong, kind, word in (
        (dict(extra_body={"temperature": 9}), anthropic.BadRequestError, "temperature"),
        (dict(model="other"), anthropic.NotFoundError, "other"),
        (dict(tool_choice={"type": "any"}), anthropic.BadRequestError, "tool_choice"),
        (dict(messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}]), anthropic.BadRequestError, "image"),
    ):
        try:
            client.messages.create(**{**request("hi"), **wrong})
        except kind as error:
            assert error.body["type"] == "error" and word in error.body["error"]["message"], error
            assert error.request_id, error
        else:
            raise AssertionError(f"{wrong} was taken")


def keys_are_checked(client):
    base = str(client.base_url)
    bearer = anthropic.Anthropic(base_url=base, auth_token="secret", max_retries=0)
    assert bearer.messages.create(**request("hello")).content
    try:
        anthropic.Anthropic(base_url=base, api_key="wrong", max_retries=0).messages.create(**request("hello"))
    except anthropic.AuthenticationError as error:
        assert error.body["error"]["type"] == "authentication_error", error
        return
    raise AssertionError("a wrong key was taken")


def tests():
    functions = [value for value in globals().values() if hasattr(value, "__code__")]
    return [value for value in functions if value.__code__.co_varnames[:1] == ("client",)]


def main():
    passed, failed = 0, 0
    with server(sys.argv[1], f"replay:{HERE / 'anthropic.jsonl'}", *FLAGS) as url:
        client = anthropic.Anthropic(base_url=url, api_key="secret", max_retries=0)
        for test in tests():
            try:
                test(client)
                passed += 1
                print("ok  ", test.__name__)
            except Exception:
                failed += 1
                print("FAIL", test.__name__)
                traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
