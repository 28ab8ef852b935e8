"""openai-python's responses API against weir replaying DeepSeek texts. Usage: openai_responses.py PATH_OF_WEIR"""

import sys

import openai

from openai_python import ARGUMENTS, client_of, run

TOOLS = [{"type": "function", "name": name, "description": "test", "parameters": {"type": "object", "properties": {}}, "strict": False} for name in ("get_weather", "get_time")]


def create(client, text, **more):
    return client.responses.create(model="deepseek", input=text, **more)


def kinds(response):
    return [item.type for item in response.output]


def a_plain_response(client):
    response = create(client, "hello", metadata={"a": "b"})
    assert kinds(response) == ["reasoning", "message"], response
    assert response.output[0].content[0].text.strip() == "A short thought.", response.output[0]
    assert response.output_text.strip() == "Hello, world. 你好，世界。", response.output_text
    assert response.status == "completed" and response.error is None and response.metadata == {"a": "b"}
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.usage.output_tokens_details.reasoning_tokens > 0, response.usage
    # pydantic holds every field to the client's own types; the client itself only constructs.
    type(response).model_validate(response.model_dump(warnings="error"))


def a_streamed_response_says_the_same(client):
    plain = create(client, "weather?", tools=TOOLS)
    assert kinds(plain) == ["reasoning", "message", "function_call", "function_call"], plain
    events = list(create(client, "weather?", tools=TOOLS, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[1].type, events[-1].type] == ["response.created", "response.in_progress", "response.completed"]
    for event in events:
        type(event).model_validate(event.model_dump(warnings="error"))
    streamed = events[-1].response
    assert kinds(streamed) == kinds(plain) and streamed.output_text == plain.output_text
    arguments = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta" and event.output_index == 2)
    assert arguments == streamed.output[2].arguments == plain.output[2].arguments == ARGUMENTS, arguments


def the_clients_own_accumulator_agrees(client):
    with client.responses.stream(model="deepseek", input="weather?", tools=TOOLS) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.function_call_arguments.delta" and event.output_index == 2]
        response = stream.get_final_response()
    assert snapshots[-1] == response.output[2].arguments == ARGUMENTS, snapshots[-1]
    assert response.output_text.strip() == "Let me look that up.", response.output_text


def a_tool_round_trip(client):
    question = [{"role": "user", "content": "weather?"}]
    first = create(client, question, tools=TOOLS, store=False)
    calls = [item for item in first.output if item.type == "function_call"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "answer me: sunny"} for call in calls]
    by_hand = create(client, question + [item.model_dump() for item in first.output] + results, tools=TOOLS, store=False)
    assert by_hand.output_text == "Sunny, then.", by_hand
    first = create(client, question, tools=TOOLS)
    calls = [item for item in first.output if item.type == "function_call"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "answer me: sunny"} for call in calls]
    stored = create(client, results, tools=TOOLS, previous_response_id=first.id)
    assert stored.output_text == "Sunny, then.", stored
    assert stored.usage.input_tokens == by_hand.usage.input_tokens, (stored.usage, by_hand.usage)


def stored_responses(client):
    first = create(client, "hello", instructions="Be brief.")
    assert client.responses.retrieve(first.id) == first
    second = create(client, "more", previous_response_id=first.id)
    items = list(client.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.type for item in items] == ["message", "reasoning", "message", "message"], items
    assert [items[0].role, items[2].role, items[3].role] == ["user", "assistant", "user"], items
    client.responses.delete(first.id)
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        refused(openai.NotFoundError, gone, first.id)
    refused(openai.BadRequestError, create, client, "more", previous_response_id=first.id)
    refused(openai.BadRequestError, client.responses.cancel, second.id)
    assert create(client, "on", previous_response_id=second.id).status == "completed"


def custom_tools_take_text(client):
    tools = [{"type": "custom", "name": "patch", "description": "Edits a file."}, {"type": "web_search"}]
    for stream in (False, True):
        answer = create(client, "patch it", tools=tools, stream=stream)
        if stream:
            events = list(answer)
            inputs = [event.input for event in events if event.type == "response.custom_tool_call_input.done"]
            assert inputs == ["*** Begin\n+a\n"], inputs
            answer = events[-1].response
        (call,) = [item for item in answer.output if item.type == "custom_tool_call"]
        assert (call.name, call.input) == ("patch", "*** Begin\n+a\n"), call


def cut_answers_and_errors(client):
    response = create(client, "hello", max_output_tokens=2)
    assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens", response
    refused(openai.BadRequestError, create, client, "hi", temperature=9)
    refused(openai.InternalServerError, create, client, "hi", background=True)
    refused(openai.BadRequestError, create, client, "hi", tool_choice="required")


def refused(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        assert error.body["message"], error
    else:
        raise AssertionError(f"{call} was not refused: {arguments} {named}")


CHECKS = [
    a_plain_response,
    a_streamed_response_says_the_same,
    the_clients_own_accumulator_agrees,
    a_tool_round_trip,
    stored_responses,
    custom_tools_take_text,
    cut_answers_and_errors,
]

if __name__ == "__main__":
    with client_of(sys.argv[1], "deepseek", "--tool-call-parser", "deepseek_v3", "--reasoning-parser", "deepseek_r1") as client:
        passed, failed = run([(check, client) for check in CHECKS])
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
