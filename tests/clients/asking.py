"""What the checks of conformance.py share: lists of checks, the few requests they all make, and their messages."""

import httpx
import openai

HELLO = [{"role": "user", "content": "Say hello."}]
TOOL = {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}

ANY, REAL, VECTORS, GUARDED = [], [], [], []
# Why an engine elsewhere, llama.cpp's server, cannot be asked for what a check wants, by its name.
NOT_ELSEWHERE = {}


def of_any_model(check):
    """A check that holds whatever the model says."""
    ANY.append(check)
    return check


def of_a_real_model(check):
    """A check that needs a model whose words depend on the request."""
    REAL.append(check)
    return check


def of_an_embedding_model(check):
    """A check of a model that makes vectors and nothing else."""
    VECTORS.append(check)
    return check


def of_vectors(check):
    """A check of vectors, whatever makes them."""
    return of_any_model(of_an_embedding_model(check))


def of_a_guarded_server(check):
    """A check of a server with keys and limits."""
    GUARDED.append(check)
    return check


def not_elsewhere(reason):
    """A check that an engine elsewhere is spared, for this reason."""

    def mark(check):
        NOT_ELSEWHERE[check.__name__] = reason
        return check

    return mark


class Weir:
    """The client, and the few requests that all checks make."""

    def __init__(self, url, key="any"):
        self.url = url
        self.key = key
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
        # One for all: each client of httpx reads the certificates again, which takes longer than most answers.
        self.http = httpx.Client(timeout=60)
        self.model = self.client.models.list().data[0].id

    def chat(self, messages=HELLO, **fields):
        """One chat request; fields that the client does not know go as they are."""
        fields.setdefault("max_tokens", 8)
        return self.client.chat.completions.create(model=self.model, messages=messages, **split(fields))

    def text(self, messages=HELLO, **fields):
        return self.chat(messages, **fields).choices[0].message.content

    def stream(self, messages=HELLO, **fields):
        return list(self.chat(messages, stream=True, **fields))

    def complete(self, prompt="One, two, three,", **fields):
        fields.setdefault("max_tokens", 8)
        return self.client.completions.create(model=self.model, prompt=prompt, **split(fields))

    def embed(self, text, **fields):
        return self.client.embeddings.create(model=self.model, input=text, **split(fields))

    def raw(self, path, body, headers=None, **more):
        headers = {"authorization": f"Bearer {self.key}"} | (headers or {})
        return self.http.post(self.url + path, json=body, headers=headers, **more)


KNOWN = {
    "audio", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "metadata", "n",
    "parallel_tool_calls", "presence_penalty", "reasoning_effort", "seed", "stop", "stream", "stream_options", "suffix", "temperature",
    "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
}  # fmt: skip


def split(fields):
    """The client's own parameters, the others as its extra_body."""
    own = {name: value for name, value in fields.items() if name in KNOWN}
    rest = {name: value for name, value in fields.items() if name not in KNOWN}
    return {**own, "extra_body": rest} if rest else own
