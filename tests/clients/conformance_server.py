"""A server with keys and limits, as openai-python meets it."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai

from asking import HELLO, of_a_guarded_server

FLAGS = (
    "--api-key", "secret", "--admin-key", "boss", "--body-limit", "20KB", "--request-timeout", "1.5", "--max-num-seqs", "2", "--max-queue", "3",
    "--cors-origin", "https://app.example", "--keep-alive", "0.005",
)  # fmt: skip
SLOWLY = [{"role": "user", "content": "take your time"}]


def keys_of(flags):
    """What a client of a server with these flags presents."""
    return [value for flag, value in zip(flags, flags[1:]) if flag == "--api-key"]


@of_a_guarded_server
def a_key_opens(weir):
    assert weir.chat().choices


@of_a_guarded_server
def without_a_key_nothing_is_answered(weir):
    stranger = openai.OpenAI(base_url=f"{weir.url}/v1", api_key="wrong", max_retries=0)
    for ask in (
        lambda: stranger.models.list(),
        lambda: stranger.chat.completions.create(model=weir.model, messages=HELLO),
        lambda: stranger.completions.create(model=weir.model, prompt="hi"),
        lambda: stranger.embeddings.create(model=weir.model, input="hi"),
        lambda: stranger.responses.create(model=weir.model, input="hi"),
    ):
        try:
            ask()
        except openai.AuthenticationError as error:
            assert error.type == "authentication_error" and error.code == "invalid_api_key", error
        else:
            raise AssertionError("a stranger was answered")


@of_a_guarded_server
def a_key_may_come_as_anthropics_clients_send_it(weir):
    body = {"model": weir.model, "messages": HELLO, "max_tokens": 4}
    assert httpx.post(f"{weir.url}/v1/messages", json=body, headers={"x-api-key": "secret"}).status_code == 200
    answer = httpx.post(f"{weir.url}/v1/messages", json=body, headers={"x-api-key": "wrong"})
    assert answer.status_code == 401 and answer.json()["error"]["type"] == "authentication_error", answer.text


@of_a_guarded_server
def health_needs_no_key(weir):
    for path in ("/health", "/live", "/ready", "/version", "/openapi.json"):
        assert httpx.get(weir.url + path).status_code == 200, path


@of_a_guarded_server
def admin_routes_have_a_key_of_their_own(weir):
    statuses = [httpx.get(f"{weir.url}/admin/plugins", headers={"authorization": f"Bearer {key}"}).status_code for key in ("boss", "secret", "wrong")]
    assert statuses == [200, 403, 401], statuses
    # And that key is for them alone.
    answer = httpx.get(f"{weir.url}/v1/models", headers={"authorization": "Bearer boss"})
    assert answer.status_code == 403 and answer.json()["error"]["type"] == "authentication_error", answer.text


@of_a_guarded_server
def a_body_beyond_the_limit_is_refused(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 30_000}]})
    assert answer.status_code == 413 and answer.json()["error"]["type"] == "invalid_request_error", answer.text
    assert weir.chat([{"role": "user", "content": "x" * 10_000}]).choices


@of_a_guarded_server
def a_request_past_its_time_is_ended(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": SLOWLY, "max_tokens": 1000})
    assert answer.status_code == 504 and answer.json()["error"]["code"] == "timeout", answer.text


@of_a_guarded_server
def a_stream_past_its_time_ends_with_an_error(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": SLOWLY, "max_tokens": 1000, "stream": True})
    assert answer.status_code == 200 and "event: error" in answer.text, answer.text[-400:]
    last = [line for line in answer.text.splitlines() if line.startswith("data: ")][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout", last


@of_a_guarded_server
def a_slow_stream_is_kept_alive_by_comments(weir):
    body = {"messages": SLOWLY, "max_tokens": 8, "stream": True}
    lines = weir.raw("/v1/chat/completions", body).text.splitlines()
    assert any(line.startswith(":") for line in lines) and lines[-2] == "data: [DONE]", lines
    # The client passes over them.
    assert "".join(chunk.choices[0].delta.content or "" for chunk in weir.chat(SLOWLY, stream=True)).startswith("one two")


@of_a_guarded_server
def the_client_raises_what_a_stream_ends_with(weir):
    try:
        for _ in weir.chat(SLOWLY, max_tokens=1000, stream=True):
            pass
    except openai.APIError as error:
        assert "time limit" in error.message, error
    else:
        raise AssertionError("the stream just ended")


@of_a_guarded_server
def more_than_the_queue_can_ever_hold_is_a_bad_request(weir):
    answer = weir.raw("/v1/completions", {"prompt": ["a", "b", "c", "d"], "max_tokens": 4})
    assert answer.status_code == 400 and "3 places" in answer.json()["error"]["message"], answer.text


@of_a_guarded_server
def a_full_queue_says_when_to_come_back(weir):
    with ThreadPoolExecutor(8) as pool:
        body = {"messages": SLOWLY, "max_tokens": 1000}
        answers = list(pool.map(lambda _: weir.raw("/v1/chat/completions", body), range(8)))
    refused = [answer for answer in answers if answer.status_code == 429]
    # Two run and three wait; when all come between two steps, nobody runs yet.
    assert 3 <= len(refused) <= 5 and {answer.status_code for answer in answers} == {429, 504}, [answer.status_code for answer in answers]
    for answer in refused:
        error = answer.json()["error"]
        assert int(answer.headers["retry-after"]) > 0 and (error["type"], error["code"]) == ("rate_limit_error", "queue_full"), answer.text


@of_a_guarded_server
def a_browser_may_call_from_its_origin(weir):
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    allowed = httpx.options(f"{weir.url}/v1/chat/completions", headers={"origin": "https://app.example", **ask})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example", allowed.headers
    other = httpx.options(f"{weir.url}/v1/chat/completions", headers={"origin": "https://evil.example", **ask})
    assert "access-control-allow-origin" not in other.headers, other.headers
