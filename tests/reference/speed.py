"""Streams chat answers from a running server and prints its speed. Usage: speed.py URL [CONCURRENCY ...]

URL is the API's base, such as http://127.0.0.1:8000/v1. Each level sends twice its number of requests of about 200
prompt tokens and 64 answer tokens. These figures depend on the machine and on what else it does: compare only within
one run, side by side.
"""

import json
import random
import statistics
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

WORDS = "river stone light garden window market paper music summer winter engine bridge letter doctor island forest".split()
ANSWER_TOKENS = 64


def ask(url, seed):
    """Time to the first content, time to the end, and the usage block of one streamed answer."""
    text = " ".join(random.Random(seed).choice(WORDS) for _ in range(165))
    body = {
        "messages": [{"role": "user", "content": f"{text}. Write a long story about these words."}],
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    start, first, usage = time.perf_counter(), None, None
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            if first is None and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                first = time.perf_counter() - start
    return first, time.perf_counter() - start, usage


def level(url, concurrency):
    start = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        answers = list(pool.map(lambda seed: ask(url, seed), range(2 * concurrency)))
    seconds = time.perf_counter() - start
    tokens = sum(usage["completion_tokens"] for _, _, usage in answers)
    first = statistics.median(first for first, _, _ in answers)
    between = statistics.median((total - first) / (usage["completion_tokens"] - 1) for first, total, usage in answers)
    prompt = answers[0][2]["prompt_tokens"]
    print(f"{concurrency:>3} at once: {tokens / seconds:.1f} tokens/s, first token after {first:.2f} s ({prompt} prompt tokens), then one each {1000 * between:.0f} ms")


if __name__ == "__main__":
    for wanted in sys.argv[2:] or ["1", "8"]:
        level(sys.argv[1], int(wanted))
