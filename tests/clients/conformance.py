"""Every field and error of the OpenAI API as weir documents it, asked for with openai-python.

    conformance.py PATH_OF_WEIR [MODEL]
    conformance.py PATH_OF_WEIR --engine URL TOKENIZER

MODEL is a GGUF; without one, what needs a model's own words is left out. The second form asks a weir in front of the engine at URL, what no
engine elsewhere can do left out and named (asking.NOT_ELSEWHERE, `not_elsewhere` in errors.jsonl). Errors are the lines of errors.jsonl: a route, a body (laid
over a small chat request where `chat` is set) and what must come back. Checks stand here and in the modules named conformance_*.
Each server's checks end with a line of their own, the whole like a test runner: "N passed, N failed".
"""

import json
import math
import sys
import traceback
from pathlib import Path

import httpx

import conformance_fields  # noqa: F401 (its checks name themselves)
import conformance_forced  # noqa: F401
import conformance_server
import conformance_vectors  # noqa: F401
from asking import ANY, CALL, GUARDED, HELLO, NOT_ELSEWHERE, REAL, TOOL, VECTORS, Weir, not_elsewhere, of_a_real_model, of_any_model
from server import server


HERE = Path(__file__).parent

# What an answer is made of.


@of_any_model
def an_answer_has_every_field(weir):
    answer = weir.chat().to_dict()
    assert answer["id"].startswith("chatcmpl-") and answer["object"] == "chat.completion", answer
    assert answer["created"] > 1_700_000_000 and answer["model"] == weir.model and answer["system_fingerprint"].startswith("fp_")
    choice = answer["choices"][0]
    assert choice["index"] == 0 and choice["logprobs"] is None and choice["finish_reason"] in ("stop", "length"), choice
    assert choice["message"]["role"] == "assistant" and choice["message"]["refusal"] is None, choice


@of_any_model
def usage_adds_up(weir):
    usage = weir.chat().usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    assert usage.prompt_tokens_details.cached_tokens >= 0 and usage.completion_tokens_details.reasoning_tokens >= 0


@of_any_model
def max_tokens_cuts(weir):
    choice = weir.chat(max_tokens=2, ignore_eos=True)
    assert choice.choices[0].finish_reason == "length" and choice.usage.completion_tokens == 2, choice


@of_any_model
def max_completion_tokens_wins(weir):
    assert weir.chat(max_tokens=1, max_completion_tokens=3, ignore_eos=True).usage.completion_tokens == 3


@of_any_model
def n_answers_have_indices(weir):
    assert [choice.index for choice in weir.chat(n=3).choices] == [0, 1, 2]


# What a stream is made of.


@of_any_model
def a_stream_begins_with_the_role(weir):
    chunks = weir.stream()
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].object == "chat.completion.chunk", chunks[0]
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


@of_any_model
def a_stream_ends_with_the_reason(weir):
    reasons = [chunk.choices[0].finish_reason for chunk in weir.stream()]
    assert reasons[-1] in ("stop", "length") and set(reasons[:-1]) == {None}, reasons


@of_any_model
def usage_comes_only_when_asked_for(weir):
    assert all(chunk.usage is None for chunk in weir.stream())


@of_any_model
def usage_comes_in_a_last_chunk(weir):
    *chunks, last = weir.stream(stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.completion_tokens > 0, last
    assert all(chunk.usage is None for chunk in chunks)


@of_any_model
def usage_comes_all_the_time(weir):
    chunks = weir.stream(stream_options={"include_usage": True, "continuous_usage_stats": True})
    counts = [chunk.usage.completion_tokens for chunk in chunks]
    assert counts == sorted(counts) and counts[-1] > 0, counts


@of_any_model
def a_stream_is_server_sent_events(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO, "stream": True, "max_tokens": 4})
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.headers
    assert answer.text.endswith("data: [DONE]\n\n"), answer.text[-200:]


@of_any_model
def a_streamed_answer_is_the_plain_one(weir):
    for n in (1, 2):
        plain = [choice.message.content for choice in weir.chat(n=n, seed=7, max_tokens=16).choices]
        streamed = [""] * n
        for chunk in weir.stream(n=n, seed=7, max_tokens=16):
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
        assert streamed == plain, (streamed, plain)


# Messages.


@of_any_model
def content_may_be_parts(weir):
    assert weir.chat([{"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]}])


@of_any_model
def a_developer_is_a_system(weir):
    assert weir.chat([{"role": "developer", "content": "Be brief."}, *HELLO])


@of_any_model
def a_history_of_calls_is_read(weir):
    for content in ({"content": None}, {"content": ""}, {}):
        call = {"role": "assistant", "tool_calls": [CALL], **content}
        assert weir.chat([*HELLO, call, {"role": "tool", "tool_call_id": "call_1", "content": "noon"}], tools=[TOOL])


@of_any_model
def bad_arguments_in_a_history_do_no_harm(weir):
    for arguments in ("{", "", "null", "[1]", '"text"', "{'a': 1}", '{"a": NaN}'):
        call = {"role": "assistant", "content": None, "tool_calls": [{**CALL, "function": {"name": "now", "arguments": arguments}}]}
        assert weir.chat([*HELLO, call, {"role": "tool", "tool_call_id": "call_1", "content": "noon"}], tools=[TOOL]), arguments


@of_any_model
def a_tool_may_answer_in_parts(weir):
    parts = [{"type": "text", "text": "noon"}]
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert weir.chat([*HELLO, call, {"role": "tool", "tool_call_id": "call_1", "content": parts}], tools=[TOOL])


@of_any_model
def a_history_of_reasoning_is_read(weir):
    for name in ("reasoning_content", "reasoning"):
        assert weir.chat([*HELLO, {"role": "assistant", "content": "Hello.", name: "They want a greeting."}, *HELLO])


@of_any_model
def names_of_speakers_are_taken(weir):
    assert weir.chat([{"role": "user", "name": "ada", "content": "Say hello."}])


# Fields.


@of_any_model
def sampling_fields_are_taken_at_their_limits(weir):
    for fields in (
        {"temperature": 0}, {"temperature": 2}, {"top_p": 0}, {"top_p": 1}, {"top_k": -1}, {"top_k": 0}, {"top_k": 1}, {"min_p": 0}, {"min_p": 1},
        {"typical_p": 1}, {"repetition_penalty": 1.3}, {"presence_penalty": -2}, {"presence_penalty": 2}, {"frequency_penalty": -2},
        {"frequency_penalty": 2}, {"seed": 0}, {"seed": -1}, {"seed": 2**63 - 1}, {"logit_bias": {}}, {"stop": []}, {"stop_token_ids": []},
        {"min_tokens": 0}, {"ignore_eos": False}, {"do_sample": True}, {"do_sample": False}, {"n": 1}, {"user": "ada"}, {"metadata": {"a": "b"}},
        {"priority": 0}, {"logprobs": False}, {"parallel_tool_calls": False}, {"reasoning_effort": "low"}, {"verbosity": "low"},
        {"chat_template_kwargs": {"enable_thinking": False}}, {"chat_template_args": {"enable_thinking": True}}, {"service_tier": "auto"},
        {"add_generation_prompt": True}, {"response_format": {"type": "text"}}, {"tool_choice": "none"}, {"store": False}, {"modalities": ["text"]},
    ):  # fmt: skip
        assert weir.chat(**fields).choices, fields


@not_elsewhere("llama.cpp's server has no priorities: 400")
@of_any_model
def a_priority_is_taken(weir):
    assert weir.chat(priority=-5).choices


@of_any_model
def null_is_absent(weir):
    names = ("temperature", "top_p", "n", "stop", "seed", "tools", "tool_choice", "logit_bias", "logprobs", "stream_options", "response_format", "user")
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO, "max_tokens": 2, **dict.fromkeys(names)})
    assert answer.status_code == 200, answer.text


@of_any_model
def numbers_may_be_strings(weir):
    texts = {"temperature": "0.7", "top_p": "0.9", "top_k": "5", "max_tokens": "3", "n": "1", "seed": "4", "presence_penalty": "0.1"}
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO, "ignore_eos": "True", "stream": "False", **texts})
    assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] == 3, answer.text


@of_any_model
def a_missing_model_is_the_default(weir):
    assert weir.raw("/v1/chat/completions", {"messages": HELLO, "max_tokens": 2}).json()["model"] == weir.model


@of_any_model
def unknown_fields_are_named_in_a_header(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO, "max_tokens": 2, "zebra": 1, "apple": 2})
    assert answer.headers["x-weir-ignored-fields"] == "apple,zebra", answer.headers


@of_any_model
def a_request_id_comes_back(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO, "max_tokens": 2}, headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    assert weir.raw("/v1/chat/completions", {}).headers["x-request-id"]


@of_any_model
def logprobs_are_those_of_the_tokens(weir):
    answer = weir.chat(logprobs=True, top_logprobs=3, temperature=0, ignore_eos=True)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) > 0
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3, token
        assert token.token.encode() == bytes(token.bytes) or "\ufffd" in token.token, token
        ranks = [top.logprob for top in token.top_logprobs]
        assert ranks == sorted(ranks, reverse=True), ranks
    text = b"".join(bytes(token.bytes) for token in tokens).decode(errors="replace")
    assert text.startswith(answer.choices[0].message.content.rstrip("\ufffd")), (text, answer.choices[0].message.content)


@of_any_model
def streamed_logprobs_are_the_plain_ones(weir):
    fields = {"logprobs": True, "top_logprobs": 1, "temperature": 0}
    plain = [token.token for token in weir.chat(**fields).choices[0].logprobs.content]
    streamed = [token.token for chunk in weir.stream(**fields) if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
    assert streamed == plain, (streamed, plain)


@of_any_model
def logprobs_without_rivals(weir):
    tokens = weir.chat(logprobs=True).choices[0].logprobs.content
    assert tokens and all(token.top_logprobs == [] for token in tokens), tokens


# Completions.


@of_any_model
def a_completion_has_every_field(weir):
    answer = weir.complete().to_dict()
    assert answer["id"].startswith("cmpl-") and answer["object"] == "text_completion" and answer["model"] == weir.model, answer
    assert answer["choices"][0]["finish_reason"] in ("stop", "length") and answer["usage"]["prompt_tokens"] > 0, answer


@of_any_model
def prompts_are_texts_or_tokens_or_lists_of_them(weir):
    for prompt, count in (("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)):
        answer = weir.complete(prompt, n=2)
        assert [choice.index for choice in answer.choices] == list(range(2 * count)), (prompt, answer)


@of_any_model
def an_echo_begins_with_the_prompt(weir):
    assert weir.complete("One, two", echo=True).choices[0].text.startswith("One, two")


@of_any_model
def a_streamed_echo_begins_with_the_prompt(weir):
    text = "".join(choice.text for chunk in weir.complete("One, two", echo=True, stream=True) for choice in chunk.choices)
    assert text.startswith("One, two"), text


@of_any_model
def completion_logprobs_are_aligned(weir):
    answer = weir.complete(logprobs=2, temperature=0).choices[0]
    lists = answer.logprobs
    assert len(lists.tokens) == len(lists.token_logprobs) == len(lists.top_logprobs) == len(lists.text_offset) > 0
    assert lists.text_offset == sorted(lists.text_offset) and lists.text_offset[0] == 0, lists
    assert all(logprob <= 0 for logprob in lists.token_logprobs)


@not_elsewhere("no engine elsewhere is asked to score a prompt: 400")
@of_any_model
def a_prompt_can_be_scored(weir):
    answer = weir.complete("One, two, three", echo=True, logprobs=1, max_tokens=0, temperature=0)
    lists = answer.choices[0].logprobs
    assert answer.choices[0].text == "One, two, three" and "".join(lists.tokens) == "One, two, three", answer
    assert lists.token_logprobs[0] is None and all(logprob <= 0 for logprob in lists.token_logprobs[1:]), lists


@of_any_model
def best_of_gives_n(weir):
    answer = weir.complete(n=2, best_of=4, max_tokens=3, ignore_eos=True, temperature=1)
    assert len(answer.choices) == 2 and answer.usage.completion_tokens == 12, answer


@of_any_model
def a_selector_gives_one_of_them(weir):
    for selector in ("mean_logprob", "majority"):
        fields = {"best_of": 3, "selector": selector, "max_tokens": 2, "ignore_eos": True, "temperature": 1}
        answer = weir.complete(**fields)
        assert len(answer.choices) == 1 and answer.usage.completion_tokens == 6, answer
        body = {"model": weir.model, "messages": [{"role": "user", "content": "hi"}], **fields}
        answer = weir.raw("/v1/chat/completions", body).json()
        assert len(answer["choices"]) == 1 and answer["usage"]["completion_tokens"] == 6, answer


@of_any_model
def a_plugin_chooses_one_of_them(weir):
    body = {"model": weir.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "temperature": 1}
    answer = weir.raw("/v1/chat/completions", {**body, "best_of": 3, "selector": "mpr"}).json()
    assert len(answer["choices"]) == 1, answer
    assert answer["usage"]["processing_details"]["generations"] == 1, answer


@of_any_model
def several_candidates_become_one_answer(weir):
    answer = weir.chat(mpr_candidates=3, max_tokens=24, temperature=1, processor_options={})
    details = answer.usage.model_extra["processing_details"]
    assert len(answer.choices) == 1 and details["generations"] == 4, answer
    assert answer.usage.completion_tokens > details["completion_tokens"] > 0, answer
    assert "Candidate 3:" in answer.choices[0].message.model_extra["reasoning_content"], answer
    once = weir.chat(mpr_candidates=1, max_tokens=8)
    assert "processing_details" not in once.usage.model_extra, once


# What only a real model shows.


@of_a_real_model
def a_seed_gives_the_same_again(weir):
    assert weir.text(seed=5, max_tokens=24) == weir.text(seed=5, max_tokens=24) != weir.text(seed=6, max_tokens=24)


@of_a_real_model
def answers_of_a_seed_differ(weir):
    assert len({choice.message.content for choice in weir.chat(n=3, seed=5, max_tokens=24).choices}) == 3


@of_a_real_model
def greedy_has_three_names(weir):
    greedy = weir.text(temperature=0, max_tokens=24)
    assert greedy == weir.text(do_sample=False, max_tokens=24) == weir.text(top_k=1, max_tokens=24) == weir.text(top_p=0, max_tokens=24)


@of_a_real_model
def a_bias_decides(weir):
    token = weir.raw("/tokenize", {"prompt": " yes", "add_special_tokens": False}).json()["tokens"][0]
    assert weir.complete(logit_bias={str(token): 100}, max_tokens=3).choices[0].text == " yes yes yes"


@of_a_real_model
def a_stop_string_ends_and_stays_out(weir):
    text = weir.complete("1, 2, 3, 4,", temperature=0, max_tokens=32).choices[0].text
    stop = text[4:6]
    choice = weir.complete("1, 2, 3, 4,", temperature=0, max_tokens=32, stop=stop).choices[0]
    assert choice.finish_reason == "stop" and choice.text == text[: text.index(stop)], choice


@of_a_real_model
def a_stop_token_ends(weir):
    choice = weir.complete("1, 2, 3, 4,", temperature=0, max_tokens=32)
    token = weir.raw("/tokenize", {"prompt": choice.choices[0].text[:2], "add_special_tokens": False}).json()["tokens"][0]
    stopped = weir.complete("1, 2, 3, 4,", temperature=0, max_tokens=32, stop_token_ids=[token])
    assert stopped.choices[0].finish_reason == "stop" and stopped.usage.completion_tokens < choice.usage.completion_tokens, stopped


@not_elsewhere("llama.cpp's server takes no `min_tokens`: 400")
@of_a_real_model
def min_tokens_are_written(weir):
    assert weir.chat(min_tokens=40, max_tokens=48, temperature=0).usage.completion_tokens >= 40


@of_a_real_model
def logprobs_are_of_a_distribution(weir):
    tokens = weir.chat(logprobs=True, top_logprobs=20, temperature=0).choices[0].logprobs.content
    for token in tokens:
        mass = sum(math.exp(top.logprob) for top in token.top_logprobs)
        assert 0 < mass <= 1.0001 and token.token == token.top_logprobs[0].token, token


@of_a_real_model
def a_message_is_continued(weir):
    text = weir.text([*HELLO, {"role": "assistant", "content": "1, 2, 3, 4, 5, 6,"}], continue_final_message=True, temperature=0)
    assert "7" in text, text


@of_a_real_model
def a_prompt_met_again_is_cached(weir):
    messages = [{"role": "user", "content": "Remember these: " + ", ".join(map(str, range(200)))}]
    weir.chat(messages)
    assert weir.chat(messages).usage.prompt_tokens_details.cached_tokens > 100


@of_a_real_model
def tokens_are_text_and_back(weir):
    text = "Grüße, 北京! <|im_end|>"
    tokens = weir.raw("/tokenize", {"prompt": text, "add_special_tokens": False}).json()["tokens"]
    assert weir.raw("/detokenize", {"tokens": tokens}).json()["prompt"] == text


# Models and health.


@of_any_model
def models_are_listed_and_found(weir):
    model = weir.client.models.retrieve(weir.model)
    assert model.id == weir.model and model.object == "model" and model.owned_by, model
    for path in ("/v1/models", "/models"):
        assert httpx.get(weir.url + path).json()["data"][0]["id"] == weir.model
    assert httpx.get(f"{weir.url}/models/{weir.model}").json()["id"] == weir.model


@of_any_model
def health_says_ok(weir):
    assert httpx.get(weir.url + "/health").json()["status"] == "ok"
    for path in ("/live", "/ready", "/version", "/metrics", "/openapi.json", "/docs"):
        assert httpx.get(weir.url + path).status_code == 200, path


def check_error(weir, line):
    """One line of errors.jsonl, asked for and compared."""
    wanted = json.loads(line)
    body = wanted.get("body", {})
    if wanted.get("chat"):
        body = {"model": weir.model, "messages": HELLO, "max_tokens": 4, **body}
    content = wanted.get("raw", json.dumps(body))
    headers = {"content-type": wanted.get("content_type", "application/json")}
    answer = httpx.request(wanted.get("method", "POST"), weir.url + wanted["route"], content=content, headers=headers, timeout=60)
    assert answer.status_code == wanted["status"], f"{answer.status_code} {answer.text}"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"], error
    for name in ("type", "param", "code"):
        if name in wanted:
            assert error[name] == wanted[name], f"{name} is {error[name]!r}: {error['message']}"


def named_checks(weir, checks, lines):
    """What is to be run, and what it is called."""
    for check in checks:
        yield check.__name__, lambda check=check: check(weir)
    for line in lines:
        yield line, lambda line=line: check_error(weir, line)


def run(weir, checks, lines):
    """How many passed and failed; says which failed and why."""
    passed, failed = 0, 0
    for name, check in named_checks(weir, checks, lines):
        try:
            check()
            passed += 1
        except Exception:
            failed += 1
            print("FAIL", name)
            traceback.print_exc(file=sys.stdout)
    return passed, failed


def in_front_of(weir_binary, engine, tokenizer):
    """The checks of a model whose tokens come from the engine at this URL."""
    errors = [line for line in (HERE / "errors.jsonl").read_text().splitlines() if line]
    checks = [check for check in ANY + REAL if check.__name__ not in NOT_ELSEWHERE]
    lines = [line for line in errors if "not_elsewhere" not in json.loads(line)]
    for name, reason in NOT_ELSEWHERE.items():
        print("LEFT OUT", name, reason, sep="\t")
    for wanted in map(json.loads, errors):
        if "not_elsewhere" in wanted:
            print("LEFT OUT", f"{wanted['route']} {json.dumps(wanted.get('body'))}", wanted["not_elsewhere"], sep="\t")
    with server(weir_binary, None, "--engine", engine, "--tokenizer", tokenizer) as url:
        passed, failed = run(Weir(url), checks, lines)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def main():
    weir_binary, *models = sys.argv[1:]
    if models[:1] == ["--engine"]:
        return in_front_of(weir_binary, *models[1:])
    errors = [line for line in (HERE / "errors.jsonl").read_text().splitlines() if line]
    parsers = ("--tool-call-parser", "deepseek_v3", "--reasoning-parser", "none")
    runs = [("replayed texts", f"replay:{HERE / 'deepseek.jsonl'}", parsers, ANY, errors)]
    runs += [("an embedding model", str(HERE.parent / "tiny_models/bert-mean"), (), VECTORS, [])]
    runs += [("a server with keys and limits", f"replay:{HERE / 'slow.jsonl'}", conformance_server.FLAGS, GUARDED, [])]
    runs += [(Path(model).name, model, (), ANY + REAL, errors) for model in models]
    total = [0, 0]
    for name, model, flags, checks, lines in runs:
        with server(weir_binary, model, *flags) as url:
            counts = run(Weir(url, *conformance_server.keys_of(flags)), checks, lines)
        print(f"{name}: {counts[0]} passed, {counts[1]} failed")
        total = [sum(pair) for pair in zip(total, counts)]
    print(f"{total[0]} passed, {total[1]} failed")
    sys.exit(1 if total[1] else 0)


main()
