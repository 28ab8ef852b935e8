"""How fast the engine is below HTTP, beside what the device allows: decode, prefill, mixed load, and the load that `serving`
put on the server.

The floor of a decode step is the time to read all matrices and all KV once at the bandwidth of a copy; that of a prompt is
its operations at the rate of a large product; that of a mixed load is the larger of the two sums.
"""

import random

import floors
import models
from weir_process import Engine

PREFILL_RUNS = 3


def run(plan, name, outcome):
    folder = models.folder(plan, name)
    sizes = plan.sizes
    facts = models.facts(plan, name)
    limits = plan.found("floors")
    longest = 512 if sizes.tiny else sizes.prefill + 64
    tokens = Tokens(facts["vocab"])
    options = ["--max-num-batched-tokens", sizes.step_tokens, "--max-num-seqs", max(sizes.batches + sizes.clients)]
    with Engine(plan, folder, *map(str, options), "--max-model-len", str(longest)) as engine:
        outcome.note(f"weir loaded it in {engine.load_seconds:.1f} s, with {engine.info['num_blocks']} KV blocks.")
        # Whatever is slow the first time.
        engine.ask("generate", requests=tokens.requests([64, 64], 4))
        decode(plan, engine, facts, limits, tokens, outcome)
        prefill(plan, engine, facts, limits, tokens, outcome)
        over_http(plan, engine, tokens, outcome)
        mixed(plan, engine, facts, limits, tokens, outcome)


class Tokens:
    """Made-up prompts, never the same again."""

    def __init__(self, vocabulary):
        self.random, self.vocabulary = random.Random("speed"), vocabulary

    def requests(self, lengths, answer):
        """Requests with prompts of these lengths; `answer` is each one's tokens, or a list of them."""
        answers = answer if isinstance(answer, list) else [answer] * len(lengths)
        return [
            {"prompt": [self.random.randrange(self.vocabulary) for _ in range(length)], "max_tokens": most}
            for length, most in zip(lengths, answers)
        ]


def decode(plan, engine, facts, limits, tokens, outcome):
    sizes = plan.sizes
    head = ["sequences", "tokens before", "step, ms", "tok/s", "floor, ms", "of the floor"]
    rows = []
    for batch in sizes.batches:
        context, generated, step = decode_step(plan, engine, tokens, batch)
        if context < 1:
            rows.append([batch, "no room", None, None, None, None])
            continue
        floor = share = None
        if limits and step:
            # The first to begin are ahead of the last.
            read = floors.decode_bytes(facts, batch, context + generated / 2)
            floor = read / limits["bandwidth"] * 1e3
            share = floor / step
        rate = batch / step * 1e3 if step else None
        rows.append([batch, context, step, rate, floor, percent(share)])
        outcome.table("Decode, medians of steps in which every sequence gets a token", head, rows)
        outcome.figures[f"decode_{batch}"] = rate
        outcome.figures[f"context_{batch}"] = context
        if not step:
            outcome.goal(f"decode of {batch}: steps that were measured", 0, at_least=1)
        goal = {1: 0.75, 64: 0.60}.get(batch)
        if share and goal and not sizes.tiny:
            outcome.goal(f"decode of {batch}: share of the memory floor", share, at_least=goal)
    short = [row[0] for row in rows if row[1] != sizes.context]
    if short:
        outcome.note(f"With {short} sequences the KV has no room for {sizes.context} tokens each: fewer were taken.")


def decode_step(plan, engine, tokens, batch):
    """Tokens before the first that is decoded, how many each sequence generates, and the median step in ms.

    The first to begin decode while the prompts of the last are computed, so each goes on for that long, and then all of them
    for `decode_steps`."""
    sizes = plan.sizes
    room = engine.info["num_blocks"] * engine.info["block_size"]
    # Each step that computes prompts leaves room for a token of everybody else.
    begin = -(-sizes.context * batch // (sizes.step_tokens - batch)) + 1
    generated = begin + sizes.decode_steps
    context = min(sizes.context, room // batch - generated - engine.info["block_size"])
    if context < 1:
        return context, generated, None
    requests = tokens.requests([context] * batch, generated)
    answer = engine.ask("generate", requests=requests, max_num_batched_tokens=sizes.step_tokens)
    return context, generated, answer["decode"]["median_ms"]


def prefill(plan, engine, facts, limits, tokens, outcome):
    sizes = plan.sizes
    seconds = []
    for _ in range(PREFILL_RUNS):
        requests = tokens.requests([sizes.prefill], 1)
        seconds.append(engine.ask("generate", requests=requests, max_num_batched_tokens=sizes.step_tokens)["seconds"])
    best = min(seconds)
    outcome.figures["prefill"] = sizes.prefill / best
    operations = floors.prefill_operations(facts, sizes.prefill)
    floor = share = None
    if limits:
        floor = operations / limits["rate"] * 1e3
        share = floor / (best * 1e3)
        if not sizes.tiny:
            outcome.goal("prefill: share of the matmul rate", share, at_least=0.55)
    row = [sizes.prefill, best * 1e3, sizes.prefill / best, operations / best / 1e12, floor, percent(share)]
    head = ["tokens", "ms", "tok/s", "TFLOP/s", "floor, ms", "of the floor"]
    outcome.table("Prefill, one prompt, best of three", head, [row])


def over_http(plan, engine, tokens, outcome):
    """The server's load on the engine alone."""
    rows = []
    for level in plan.found("serving").get("levels", []):
        requests = tokens.requests([level["prompt_tokens"]] * level["requests"], plan.sizes.answer)
        answer = engine.ask(
            "generate",
            requests=requests,
            concurrency=level["clients"],
            max_num_batched_tokens=plan.sizes.step_tokens,
            prefix_cache=True,
        )
        rate = answer["generated_tokens"] / answer["seconds"]
        overhead = 1 - level["rate"] / rate
        rows.append([level["clients"], rate, level["rate"], percent(overhead)])
        if not plan.sizes.tiny:
            outcome.goal(f"{level['clients']} clients: overhead of the server", overhead, at_most=0.05)
    if rows:
        outcome.table("The load of `serving`, output tok/s", ["clients", "engine alone", "over HTTP", "overhead"], rows)
    else:
        outcome.note("The server was not measured, so its overhead is not known.")


def mixed(plan, engine, facts, limits, tokens, outcome):
    count, at_once, longest, answer = plan.sizes.mixed
    lengths = [tokens.random.randint(longest // 32 + 1, longest) for _ in range(count)]
    answers = [tokens.random.randint(answer // 8 + 1, answer) for _ in range(count)]
    requests = tokens.requests(lengths, answers)
    found = engine.ask(
        "generate", requests=requests, concurrency=at_once, max_num_batched_tokens=plan.sizes.step_tokens // 4
    )
    seconds = found["seconds"]
    floor = share = None
    if limits:
        computed = sum(floors.prefill_operations(facts, length) for length in lengths)
        computed += 2 * (facts["layer_numbers"] + facts["head_numbers"]) * sum(answers)
        kept = sum(answer * (length + answer / 2) for length, answer in zip(lengths, answers))
        read = found["steps"] * floors.decode_bytes(facts, 0, 0) + 2 * facts["kv_numbers"] * kept
        floor = max(computed / limits["rate"], read / limits["bandwidth"])
        share = floor / seconds
    rate = found["generated_tokens"] / seconds
    outcome.figures["mixed"] = {"rate": rate, "lengths": lengths, "answers": answers}
    row = [count, at_once, sum(lengths), sum(answers), seconds, rate, found["steps"], floor, percent(share)]
    head = ["requests", "at once", "tokens in", "tokens out", "s", "output tok/s", "steps", "floor, s", "of the floor"]
    outcome.table("Mixed load", head, [row])


def percent(share):
    return None if share is None else f"{100 * share:.1f}%"
