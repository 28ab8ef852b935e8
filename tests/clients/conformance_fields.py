"""Fields beyond OpenAI's everyday ones: tokens, stops, calls, echoes, and what other servers' clients send."""

import json

import openai

from asking import CALL, HELLO, TOOL, not_elsewhere, of_a_real_model, of_any_model

MANY = [{**TOOL, "function": {**TOOL["function"], "name": name}} for name in ("now", "then")]

# Token ids.


@of_any_model
def token_ids_are_told_of_a_completion(weir):
    choice = weir.complete(return_token_ids=True, ignore_eos=True, max_tokens=5).choices[0]
    assert len(choice.token_ids) == 5, choice
    assert choice.prompt_token_ids == weir.raw("/tokenize", {"prompt": "One, two, three,"}).json()["tokens"], choice
    assert weir.complete().choices[0].to_dict().get("token_ids") is None


@of_any_model
def token_ids_are_told_of_a_chat(weir):
    # Greedily: of a character in several tokens llama.cpp's server tells the last alone.
    answer = weir.chat(return_token_ids=True, temperature=0)
    assert len(answer.choices[0].token_ids) == answer.usage.completion_tokens, answer
    assert len(answer.prompt_token_ids) == answer.usage.prompt_tokens, answer
    assert answer.choices[0].logprobs is None


@of_any_model
def streamed_token_ids_are_the_plain_ones(weir):
    fields = {"return_token_ids": True, "temperature": 0}
    plain = weir.chat(**fields)
    chunks = weir.stream(**fields)
    streamed = [token for chunk in chunks for choice in chunk.choices for token in getattr(choice, "token_ids", None) or []]
    assert streamed == plain.choices[0].token_ids, (streamed, plain)
    assert chunks[0].prompt_token_ids == plain.prompt_token_ids, chunks[0]


@of_any_model
def allowed_tokens_must_be_some(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO, "allowed_token_ids": []})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "allowed_token_ids", answer.text


@not_elsewhere("llama.cpp's server takes no `allowed_token_ids`: 400")
@of_a_real_model
def only_allowed_tokens_are_written(weir):
    allowed = [weir.raw("/tokenize", {"prompt": word, "add_special_tokens": False}).json()["tokens"][0] for word in (" yes", " no")]
    choice = weir.complete(allowed_token_ids=allowed, return_token_ids=True, max_tokens=6).choices[0]
    assert set(choice.token_ids) <= set(allowed) and len(choice.token_ids) == 6, choice


@not_elsewhere("llama.cpp's server takes no `bad_words`: 400")
@of_a_real_model
def bad_words_are_not_written(weir):
    count = {"prompt": "1, 2, 3, 4,", "temperature": 0, "max_tokens": 16}
    assert " 5" in weir.complete(**count).choices[0].text
    assert "5" not in weir.complete(**count, bad_words=["5"]).choices[0].text


# Log-probabilities beyond OpenAI's.


@not_elsewhere("no engine elsewhere is asked to score a prompt: 400")
@of_any_model
def a_prompts_tokens_are_told(weir):
    for answer, told in [
        ((chat := weir.chat(prompt_logprobs=2)), chat.prompt_logprobs),
        ((text := weir.complete(prompt_logprobs=2)), text.choices[0].prompt_logprobs),
    ]:
        assert len(told) == answer.usage.prompt_tokens and told[0] is None, told
        for place in told[1:]:
            assert 2 <= len(place) <= 3 and all(entry["rank"] >= 1 and entry["logprob"] <= 0 for entry in place.values()), place
    assert "prompt_logprobs" not in weir.chat().to_dict()


@of_any_model
def tokens_may_be_told_by_their_ids(weir):
    logprobs = weir.complete(logprobs=1, return_tokens_as_token_ids=True).choices[0].logprobs
    assert all(token.removeprefix("token_id:").isdigit() for token in logprobs.tokens), logprobs
    content = weir.chat(logprobs=True, return_tokens_as_token_ids=True).choices[0].logprobs.content
    assert all(entry.token.startswith("token_id:") for entry in content), content


@not_elsewhere("no engine elsewhere is asked to score a prompt: 400")
@of_any_model
def an_echoed_prompts_tokens_may_be_told_by_their_ids(weir):
    logprobs = weir.complete(logprobs=1, echo=True, return_tokens_as_token_ids=True).choices[0].logprobs
    assert all(token.removeprefix("token_id:").isdigit() for token in logprobs.tokens), logprobs


@of_any_model
def a_guess_of_the_answer_changes_nothing(weir):
    fields = {"temperature": 0, "prediction": {"type": "content", "content": "Hello!"}}
    assert weir.text(**fields) == weir.text(temperature=0)


@of_any_model
def embeddings_for_a_prompt_are_judged(weir):
    for tensor, param in [("AAAA", "prompt_embeds"), (["?"], "prompt_embeds[0]")]:
        answer = weir.raw("/v1/completions", {"prompt": "", "prompt_embeds": tensor})
        # 501 where a model's engine takes none.
        assert answer.status_code in (400, 501) and answer.json()["error"]["param"] == param, answer.text


@of_any_model
def beam_search_is_known_and_may_be_off(weir):
    assert weir.chat(use_beam_search=False, length_penalty=1.0).choices
    for asked in ({"use_beam_search": True}, {"length_penalty": 0.5}):
        answer = weir.raw("/v1/chat/completions", {"messages": HELLO, **asked})
        assert answer.status_code == 501 and answer.json()["error"]["param"] == next(iter(asked)), answer.text


# Stops and what is shown.


@of_any_model
def stops_may_be_one_or_many(weir):
    for stop in ("zzz", ["zzz"], [f"zz{number}" for number in range(100)]):
        assert weir.chat(stop=stop).choices[0].finish_reason, stop


@of_a_real_model
def a_stop_string_may_stay_in(weir):
    count = {"prompt": "1, 2, 3, 4,", "temperature": 0, "max_tokens": 16, "stop": ","}
    assert weir.complete(**count).choices[0].text == " 5"
    assert weir.complete(**count, include_stop_str_in_output=True).choices[0].text == " 5,"


@not_elsewhere("with `ignore_eos` llama.cpp forbids the end token, where others go on behind it")
@of_a_real_model
def special_tokens_are_shown_on_request(weir):
    fields = {"temperature": 0, "ignore_eos": True, "max_tokens": 80, "messages": [{"role": "user", "content": "Say yes."}]}
    assert "<|im_end|>" not in weir.chat(**fields).choices[0].message.content
    assert "<|im_end|>" in weir.chat(**fields, skip_special_tokens=False).choices[0].message.content


@of_any_model
def a_prompt_may_be_cut(weir):
    assert weir.complete([5] * 40, truncate_prompt_tokens=6).usage.prompt_tokens == 6


@of_any_model
def a_chat_may_echo_what_it_goes_on_from(weir):
    begun = [*HELLO, {"role": "assistant", "content": "Well, "}]
    extra = {"echo": True, "continue_final_message": True, "add_generation_prompt": False}
    answer = weir.client.chat.completions.create(model=weir.model, messages=begun, max_tokens=4, extra_body=extra)
    assert answer.choices[0].message.content.startswith("Well, "), answer


# Calls.


@of_any_model
def choices_of_tools_are_read(weir):
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "then"}}]}}
    for choice in ("none", "auto", allowed):
        for parallel in (True, False):
            assert weir.chat(tools=MANY, tool_choice=choice, parallel_tool_calls=parallel).choices, choice


@of_any_model
def a_tool_may_be_strict(weir):
    strict = {**TOOL, "function": {**TOOL["function"], "strict": True, "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}
    assert weir.chat(tools=[strict]).choices


@of_any_model
def the_older_functions_are_read(weir):
    function = TOOL["function"]
    assert weir.chat(functions=[function], function_call="auto").choices
    history = [{"role": "assistant", "content": None, "function_call": CALL["function"]}, {"role": "function", "name": "now", "content": "noon"}]
    assert weir.chat([*HELLO, *history], functions=[function]).choices


@of_any_model
def a_request_without_tools_has_no_calls(weir):
    message = weir.chat(max_tokens=32).choices[0].message
    assert message.tool_calls is None and message.content is not None, message


# Streams.


@of_any_model
def a_completion_streams_its_usage(weir):
    *chunks, last = weir.complete(stream=True, stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens, last
    assert chunks[-1].choices[0].finish_reason in ("stop", "length"), chunks[-1]
    assert {chunk.id for chunk in chunks} == {last.id} and last.object == "text_completion"


@of_any_model
def a_streamed_completion_is_the_plain_one(weir):
    for prompt in ("One, two,", ["a", "b"], [5, 6, 7]):
        plain = [choice.text for choice in weir.complete(prompt, seed=3).choices]
        streamed = [""] * len(plain)
        for chunk in weir.complete(prompt, seed=3, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.text
        assert streamed == plain, prompt


@of_any_model
def an_abandoned_stream_harms_nobody(weir):
    for _ in range(4):
        stream = weir.chat(stream=True, max_tokens=64)
        next(iter(stream))
        stream.close()
    assert weir.chat().choices


# What other servers' clients send.


@of_any_model
def annotations_come_beside_an_answer(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO, "max_tokens": 4, "nvext": {"annotations": ["token_ids"]}})
    assert answer.status_code == 200, answer.text
    streamed = weir.raw("/v1/chat/completions", {"messages": HELLO, "max_tokens": 4, "stream": True, "nvext": {"annotations": ["token_ids"]}})
    assert "event: token_ids" in streamed.text, streamed.text[:400]


@of_any_model
def dynamos_words_are_read(weir):
    for nvext in ({"greed_sampling": True}, {"use_raw_prompt": True}, {"ignore_eos": False}, {}):
        assert weir.chat(nvext=nvext).choices, nvext


@of_any_model
def ksanallms_generate_answers(weir):
    body = {"prompt": "One, two,", "sampling_config": {"max_new_tokens": 4, "temperature": "0.5", "topk": "3"}, "stream": False}
    answer = weir.raw("/generate", body)
    assert answer.status_code == 200 and answer.json(), answer.text


@of_any_model
def structured_output_may_be_switched_off(weir):
    assert weir.chat(enable_structured_output=False).choices
    assert weir.chat(extra="ignored", enable_structured_output="False").choices


@of_any_model
def both_spellings_of_the_template_arguments_are_read(weir):
    for name in ("chat_template_kwargs", "chat_template_args"):
        assert weir.chat(**{name: {"enable_thinking": False, "unknown": [1]}}).choices, name


# The client's own classes of errors.


@of_any_model
def errors_are_the_clients_own(weir):
    cases = [
        ({"temperature": 9}, openai.BadRequestError), ({"model": "nobody"}, openai.NotFoundError), ({"audio": {}}, openai.InternalServerError),
    ]  # fmt: skip
    for fields, kind in cases:
        try:
            weir.client.chat.completions.create(**({"model": weir.model, "messages": HELLO} | fields))
        except kind as error:
            assert error.body["message"] and error.request_id, error
        else:
            raise AssertionError(fields)


@of_any_model
def a_body_of_deep_brackets_is_refused(weir):
    content = '{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}"
    answer = weir.client.with_options(max_retries=0)._client.post(
        f"{weir.url}/v1/chat/completions", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400 and json.loads(answer.text)["error"]["type"] == "invalid_request_error", answer.text


@of_any_model
def more_answers_than_places_are_refused(weir):
    answer = weir.raw("/v1/completions", {"prompt": ["a"] * 100, "n": 2})
    assert answer.status_code == 400, answer.text


# Responses.


@of_any_model
def an_unknown_previous_response_is_a_bad_request(weir):
    answer = weir.raw("/v1/responses", {"input": "hi", "previous_response_id": "resp_nobody"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "previous_response_not_found", "previous_response_id"), answer.text
    assert error["message"].startswith("Previous response with id 'resp_nobody' not found."), error


@of_any_model
def a_response_is_followed_up_and_forgotten(weir):
    first = weir.client.responses.create(model=weir.model, input="Say hello.", max_output_tokens=16)
    second = weir.client.responses.create(model=weir.model, input="Again.", previous_response_id=first.id, max_output_tokens=16)
    assert second.previous_response_id == first.id and second.usage.input_tokens > first.usage.input_tokens, second
    assert weir.client.responses.retrieve(second.id).id == second.id
    weir.client.responses.delete(second.id)
    assert weir.raw("/v1/responses", {"input": "hi", "previous_response_id": second.id}).status_code == 400


@of_any_model
def counting_tokens_counts_what_messages_use(weir):
    body = {"model": weir.model, "messages": HELLO, "max_tokens": 4}
    counted = weir.raw("/v1/messages/count_tokens", {key: body[key] for key in ("model", "messages")}).json()["input_tokens"]
    usage = weir.raw("/v1/messages", body).json()["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == counted, (usage, counted)
