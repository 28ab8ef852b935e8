"""transformers' generate with PyTorch's own attention on the same weights, at the loads that `speed` put on weir: decode alone,
as the difference of two runs; a long prompt; and of the mixed load the first requests, as one batch, padded to the longest
prompt and run to the longest answer, which is how generate takes it.
"""

import time

import torch

import models
import reference

GOAL_BATCH = 64


def run(plan, name, outcome):
    sizes = plan.sizes
    dtype = torch.bfloat16 if plan.device == "cuda" else torch.float32
    model = reference.load(models.folder(plan, name), dtype, plan.device, "sdpa")
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    peer = Peer(plan, model, models.facts(plan, name)["vocab"], plan.found("speed"))
    peer.title = f"{name}, {str(dtype).removeprefix('torch.')}, SDPA"
    # Whatever is slow the first time.
    generate(plan, model, peer.prompts(1, 64), 2)
    # First what a goal needs, last what may have no room.
    batches = sorted(sizes.batches, key=lambda batch: (batch > GOAL_BATCH, batch != GOAL_BATCH, batch))
    for batch in batches:
        if batch <= GOAL_BATCH:
            peer.decode(batch, outcome)
    peer.prefill(outcome)
    peer.mixed(outcome)
    for batch in batches:
        if batch > GOAL_BATCH:
            peer.decode(batch, outcome)


class Peer:
    """transformers at weir's loads, and what weir made of them; a row a load."""

    def __init__(self, plan, model, vocabulary, ours):
        self.plan, self.model, self.vocabulary, self.ours = plan, model, vocabulary, ours
        self.title, self.rows = "", {}

    def prompts(self, count, length):
        return torch.randint(self.vocabulary, (count, length), device=self.plan.device)

    def decode(self, batch, outcome):
        few, many = self.plan.sizes.peer_tokens
        context = self.ours.get(f"context_{batch}", self.plan.sizes.context)
        prompts = self.prompts(batch, context)

        def rate():
            seconds = generate(self.plan, self.model, prompts, many) - generate(self.plan, self.model, prompts, few)
            # What the prompt took may vary by more than a few tokens take, on a busy processor.
            return batch * (many - few) / seconds if seconds > 0 else None

        load = f"decode of {batch} behind {context} tokens"
        ratio = self.row(outcome, (0, batch), load, rate, self.ours.get(f"decode_{batch}"))
        if ratio and batch == GOAL_BATCH:
            outcome.goal("decode of 64: weir to transformers' generate", ratio, at_least=10)

    def prefill(self, outcome):
        length = self.plan.sizes.prefill
        prompts = self.prompts(1, length)

        def rate():
            return length / min(generate(self.plan, self.model, prompts, 1) for _ in range(2))

        self.row(outcome, (1, 0), f"a prompt of {length}, its tokens", rate, self.ours.get("prefill"))

    def mixed(self, outcome):
        """Output tokens a second."""
        load = self.ours.get("mixed")
        if not load:
            return
        count = self.plan.sizes.peer_mixed
        lengths, answers = load["lengths"][:count], load["answers"][:count]
        longest = max(lengths)
        prompts = self.prompts(count, longest)
        places = torch.arange(longest, device=self.plan.device)
        # Padded in front.
        mask = (places >= longest - torch.tensor(lengths, device=self.plan.device)[:, None]).long()

        def rate():
            return sum(answers) / generate(self.plan, self.model, prompts, max(answers), mask)

        self.row(outcome, (2, 0), f"mixed load, the first {count} requests", rate, load["rate"])

    def row(self, outcome, place, load, rate, ours):
        """Measures and reports one; weir's rate to it, if both are known."""
        try:
            theirs = rate()
            ratio = ours / theirs if ours and theirs else None
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            theirs, ratio = "out of memory", None
        self.rows[place] = [load, theirs, ours, ratio]
        rows = [self.rows[place] for place in sorted(self.rows)]
        outcome.table(self.title, ["", "transformers, tok/s", "weir, tok/s", "ratio"], rows)
        return ratio


def generate(plan, model, prompts, count, mask=None):
    """Seconds to generate so many tokens for each prompt."""
    begun = time.perf_counter()
    model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts) if mask is None else mask,
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
    )
    if plan.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun
