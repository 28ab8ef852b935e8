"""64 ragged sequences are what each is alone, and stay so with the prefix cache on and too little KV for all of them.

First the runner: logits of all sequences in one batch against those of each in a batch of its own. Then the engine: what
it generates under load is held to the model alone, token by token. In bf16 a matrix product rounds otherwise when it has
other rows beside it, so two tokens may change places that are closer than the error of bf16 itself: twice the largest
error of PyTorch's own bf16, as measured on this model, is what counts as equal.
"""

import random

import numpy

import models
from weir_process import Engine

COUNT = 64
ROWS = 4
# Sequences of a group begin alike.
GROUP = 8
CHECKED_AT_ONCE = 16


def run(plan, name, outcome):
    folder = models.folder(plan, name)
    facts = models.facts(plan, name)
    allowed = 2 * plan.found(f"logits-{name}").get("bf16_largest_error", 0.05)
    # weir keeps KV in 2 bytes on a GPU; its reference runner, which computes folders on a processor, in 4.
    token_bytes = facts["kv_numbers"] * (2 if plan.device == "cuda" else 4)
    # Room for the ragged batch and little more: half the longest sequence each, and the rest of a block.
    kv = int(token_bytes * COUNT * (0.55 * plan.sizes.ragged_tokens + 32))
    options = ["--kv-cache-memory", str(kv), "--max-model-len", "512"]
    with Engine(plan, folder, *options) as engine:
        rows = [ragged(plan, engine, facts, allowed, outcome)]
        rows += loaded(plan, engine, facts, allowed, outcome)
    outcome.table(
        f"{name}, {COUNT} sequences; equal is within {allowed:.3g}",
        ["", "largest difference", "another token", "farther than allowed"],
        rows,
    )


def ragged(plan, engine, facts, allowed, outcome):
    """Logits in company against logits alone."""
    tokens = random.Random("ragged")
    lengths = [ROWS + 1 + tokens.randrange(plan.sizes.ragged_tokens - ROWS) for _ in range(COUNT)]
    sequences = [[tokens.randrange(facts["vocab"]) for _ in range(length)] for length in lengths]
    together = logits(plan, engine, sequences)
    alone = numpy.concatenate([logits(plan, engine, [sequence]) for sequence in sequences])
    off = numpy.abs(together - alone).max(1)
    outcome.goal("64 ragged sequences: largest difference of a logit to the single run", off.max(), at_most=allowed)
    others = int((together.argmax(1) != alone.argmax(1)).sum())
    return ["one batch against single runs", float(off.max()), f"{others} of {len(off)}", int((off > allowed).sum())]


def logits(plan, engine, sequences):
    output = plan.work / "ragged.f32"
    first = [len(sequence) - ROWS for sequence in sequences]
    engine.ask("logits", sequences=sequences, **{"from": first}, output=str(output))
    return numpy.fromfile(output, dtype="<f4").reshape(-1, engine.info["vocab_size"])


def loaded(plan, engine, facts, allowed, outcome):
    """What is generated with shared beginnings and too little KV."""
    sizes = plan.sizes
    tokens = random.Random("loaded")
    blocks, block = engine.info["num_blocks"], engine.info["block_size"]
    # Prompts fit, and what is generated does not.
    room = blocks * block // COUNT
    own = max(room - sizes.generated // 2, 4)
    shared = 2 * block
    prompts = []
    for _ in range(COUNT // GROUP):
        beginning = [tokens.randrange(facts["vocab"]) for _ in range(shared)]
        for _ in range(GROUP):
            prompts.append(beginning + [tokens.randrange(facts["vocab"]) for _ in range(own)])
    requests = [{"prompt": prompt, "max_tokens": sizes.generated} for prompt in prompts]
    answer = engine.ask("generate", requests=requests, prefix_cache=True, tokens=True, max_num_batched_tokens=512)
    outcome.note(
        f"Under load: {blocks} KV blocks of {block} tokens, {len(prompts[0])} tokens of prompt, {sizes.generated} generated: "
        f"{answer['preemptions']} preemptions, {answer['prefix_hit_tokens']} prompt tokens from the prefix cache."
    )
    outcome.goal("preemptions under load", answer["preemptions"], at_least=1)
    outcome.goal("prompt tokens from the prefix cache under load", answer["prefix_hit_tokens"], at_least=1)
    gaps = []
    for start in range(0, COUNT, CHECKED_AT_ONCE):
        part = slice(start, start + CHECKED_AT_ONCE)
        sequences = [prompt + made for prompt, made in zip(prompts[part], answer["tokens"][part])]
        first = [len(prompt) - 1 for prompt in prompts[part]]
        alone = engine.ask("logits", sequences=sequences, **{"from": first})
        gaps += [gap for gap in alone["gap"] if gap is not None]
    outcome.goal("tokens under load: how far below the single run's highest logit", max(gaps), at_most=allowed)
    others, far = sum(gap > 0 for gap in gaps), sum(gap > allowed for gap in gaps)
    return [["generated under load against the model alone", max(gaps), f"{others} of {len(gaps)}", far]]
