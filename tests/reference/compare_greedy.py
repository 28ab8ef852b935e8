"""Compare weir's greedy text with llama.cpp's on the same GGUF, prompt by prompt.

The peer is llama.cpp's own server, started in this process from the PyPI package `xllamacpp`; weir is a server that
runs already (--url) or is started here (--weir). Both continue every text in prompts/ greedily. The texts must be
identical, or the first difference must be a tie: the peer's log-probabilities of its own token and of weir's token
there differ by at most --tolerance. After a tie the texts may part, so nothing behind the first difference counts.

    python3 tests/reference/compare_greedy.py --model MODEL.gguf --weir target/release/weir

The package is installed once, in an environment of its own in weir's cache (packages.py).

With --in-front the weir that is started computes nothing: it asks the peer, so the texts must be the same.

With --table, several models may be given; what is printed on standard output then is a Markdown table, a row a model
(`cargo xtask greedy-text`). Its noise is how far the peer is from itself: the largest change of a log-probability of its
own tokens, as long as it writes the same ones, when flash attention is switched off.

Quantized matrices are multiplied with activations rounded to 8 bits, so the last bit of any sum can grow into a
tenth of a log-probability: with a 135M model in Q4_1 the peer parts from itself where two tokens are that close,
when flash attention is switched off. The prompts therefore have continuations that a right model is sure of, and a
wrong one is not: what must be looked up further back. Quantizing a model again makes it less sure; these texts leave every
format of `cargo xtask greedy-text` a margin of more than half a log-probability at each token. The test without rounding takes any prompt:
write the model in f32 (dequantize_gguf.py) and compare with --exact-peer, f32 KV and plain attention in the peer.

Exits with 1 when a prompt fails, with 2 when a server cannot be reached. It does not compare chat templates: chat.txt
is rendered already.
"""

import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import packages

PROMPTS = Path(__file__).parent / "prompts"
LONG_PROMPT_WEEKS = 10
TOP_TOKENS = 40


@dataclass
class Choice:
    """One greedy step of the peer.

    `chosen` is the text of the step and `token` that of its token: the peer gives a character of several tokens as
    one step with the last token's probabilities. `top` are that token's likeliest rivals as (bytes, log-probability).
    """

    chosen: bytes
    token: bytes
    logprob: float
    top: list


@dataclass
class Difference:
    """The first step at which weir's text leaves the peer's."""

    step: int
    peer: bytes
    weir: bytes
    gap: float


def main():
    options = parse_options()
    packages.require("xllamacpp", Path(__file__).with_name("serve_llama_cpp.txt"))
    failed = False
    if options.table:
        print("| model | identical | where they part | gap | noise of the peer |\n|---|---|---|---|---|")
    for model in options.model:
        verdicts = verdicts_of(model, options)
        failed |= not all(passes(difference, options.tolerance) for _, difference in verdicts)
        if options.table:
            print(row(model, verdicts, noise(model, options)), flush=True)
    return 1 if failed else 0


def verdicts_of(model, options):
    """Every prompt's name and first difference."""
    peer, peer_url = start_peer(model, options)
    weir, weir_url = (None, options.url) if options.url else start_weir(model, peer_url, options)
    try:
        wait_for(weir_url + "/v1/models", options.start_seconds)
        return [(name, compare(name, prompt, peer_url, weir_url, options)) for name, prompt in prompts()]
    finally:
        if weir is not None:
            weir.terminate()
            weir.wait()
        del peer


def noise(model, options):
    """The largest change of the peer's own log-probabilities without flash attention."""
    usual, usual_url = start_peer(model, options)
    plain, plain_url = start_peer(model, options, flash_attention=False)
    changes = [0.0]
    for _, prompt in prompts():
        steps, _ = peer_greedy(usual_url, prompt, options.max_tokens)
        others, _ = peer_greedy(plain_url, prompt, options.max_tokens)
        for step, other in zip(steps, others):
            if step.chosen != other.chosen:
                break
            changes.append(abs(step.logprob - other.logprob))
    del usual, plain
    return max(changes)


def row(model, verdicts, noise):
    """A model's line of the table."""
    parted = [(name, difference) for name, difference in verdicts if difference is not None]
    where = ", ".join(f"{name} at token {difference.step}" for name, difference in parted) or "-"
    gaps = ", ".join(f"{difference.gap:.4f}" for _, difference in parted) or "-"
    return f"| {Path(model).stem} | {len(verdicts) - len(parted)} of {len(verdicts)} | {where} | {gaps} | {noise:.4f} |"


def parse_options():
    parser = argparse.ArgumentParser(description="Compare weir's greedy text with llama.cpp's.")
    parser.add_argument("--model", required=True, nargs="+", help="the GGUF both run")
    parser.add_argument("--table", action="store_true", help="print a table, and the rest on stderr")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="a running weir, such as http://127.0.0.1:8000")
    target.add_argument("--weir", help="the weir binary to start")
    parser.add_argument("--in-front", action="store_true", help="weir computes nothing, it stands in front of the peer")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--tolerance", type=float, default=0.05, help="log-probability gap that still is a tie")
    parser.add_argument("--exact-peer", action="store_true", help="f32 KV and no flash attention in the peer")
    parser.add_argument("--threads", type=int, default=2, help="threads of the peer")
    parser.add_argument("--start-seconds", type=float, default=60, help="how long weir may take to start")
    options = parser.parse_args()
    if options.url and len(options.model) > 1:
        parser.error("a running weir has one model")
    return options


def prompts():
    """Name and text of every prompt; the long one is written by rule, about 1,500 tokens."""
    files = [(path.stem, path.read_text(encoding="utf-8")) for path in sorted(PROMPTS.glob("*.txt"))]
    return files + [("long", long_prompt())]


def long_prompt():
    """A ship's log of about 1,500 tokens; what follows is found a week back and nowhere nearer."""
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    lines = [f"On {day} we sailed at six, the sea was calm, and the captain wrote a letter home." for day in days]
    return "\n".join(["The log of the merchant ship Halcyon, copied without omissions.", "", *lines * LONG_PROMPT_WEEKS, "On Monday we"])


def compare(name, prompt, peer_url, weir_url, options):
    """The first difference of one prompt's texts, None for none; its verdict is printed."""
    steps, peer_text = peer_greedy(peer_url, prompt, options.max_tokens)
    weir_text = weir_greedy(weir_url, prompt, options.max_tokens)
    difference = first_difference(steps, weir_text)
    lines = report(name, len(steps), peer_text, weir_text, difference, options.tolerance)
    print(lines, file=sys.stderr if options.table else sys.stdout, flush=True)
    return difference


def passes(difference, tolerance):
    """Whether the texts are identical or parted at a tie."""
    return difference is None or difference.gap <= tolerance


def report(name, steps, peer_text, weir_text, difference, tolerance):
    """One prompt's verdict in words."""
    if difference is None:
        return f"{name}: identical over {steps} tokens"
    tie = passes(difference, tolerance)
    verdict = (
        f"{name}: {'a tie' if tie else 'DIFFERENT'} at token {difference.step}: peer {difference.peer!r}, "
        f"weir {difference.weir!r}, gap {difference.gap:.4f}"
    )
    return verdict if tie else f"{verdict}\n  peer: {peer_text!r}\n  weir: {weir_text!r}"


def first_difference(steps, weir_text):
    """Walks the peer's tokens along weir's text; None when the text holds them all and nothing more."""
    # A character cut by the last token is a replacement character in one text and absent in the other.
    left = weir_text.rstrip("\ufffd").encode()
    end = len(b"".join(step.chosen for step in steps).decode("utf-8", "ignore").encode())
    for index, step in enumerate(steps):
        if left.startswith(step.chosen) and (step.chosen or not left):
            left, end = left[len(step.chosen) :], end - len(step.chosen)
        elif len(left) == end < len(step.chosen) and step.chosen.startswith(left):
            return None
        else:
            return difference_at(index, step, left)
    return None if not left else Difference(len(steps), b"", left, float("inf"))


def difference_at(index, step, left):
    """What weir chose instead: the likeliest other token that its text goes on with; an empty one if it ended.

    A difference before the last token of a character has no known gap and so is never taken for a tie.
    """
    before = step.chosen.removesuffix(step.token)
    behind = left.removeprefix(before)
    rivals = [
        (logprob, token)
        for token, logprob in step.top
        if left.startswith(before) and behind.startswith(token) and bool(token) == bool(behind)
    ]
    if not rivals:
        return Difference(index, step.chosen, left[:24], float("inf"))
    logprob, token = max(rivals)
    return Difference(index, step.chosen, before + token, step.logprob - logprob)


def peer_greedy(url, prompt, max_tokens):
    answer = post(
        url + "/completion",
        {
            "prompt": prompt,
            "n_predict": max_tokens,
            "temperature": 0,
            "n_probs": TOP_TOKENS,
            "cache_prompt": False,
        },
    )
    return [choice(step) for step in answer["completion_probabilities"]], answer["content"]


def choice(step):
    rivals = [(token_bytes(top), top["logprob"]) for top in step["top_logprobs"] if top["id"] != step["id"]]
    own = [token_bytes(top) for top in step["top_logprobs"] if top["id"] == step["id"]]
    chosen = token_bytes(step)
    return Choice(chosen, own[0] if own else chosen, step["logprob"], rivals)


def token_bytes(token):
    """A token's bytes in the text; end tokens have none."""
    return bytes(token["bytes"])


def weir_greedy(url, prompt, max_tokens):
    model = get(url + "/v1/models")["data"][0]["id"]
    request = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
    return post(url + "/v1/completions", request)["choices"][0]["text"]


def start_peer(model, options, flash_attention=True):
    """llama.cpp's server in threads of this process; it lives as long as the returned object."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = free_port()
    params.n_ctx = 4096
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    if options.exact_peer:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if not flash_attention:
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    return server, server.listening_address


def start_weir(model, peer_url, options):
    port = free_port()
    source = ["--engine", peer_url, "--tokenizer", model] if options.in_front else ["--model", model]
    process = subprocess.Popen(
        [options.weir, "serve", *source, "--port", str(port)],
        # Standard output may be a table's.
        stdout=sys.stderr,
    )
    return process, f"http://127.0.0.1:{port}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return get(url)
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def get(url):
    with urllib.request.urlopen(url) as response:
        return json.load(response)


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except urllib.error.URLError as error:
        print(f"cannot reach a server: {error}", file=sys.stderr)
        sys.exit(2)
