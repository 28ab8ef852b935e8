"""What the parts share: how large everything is, where it lies, and what they leave for the report and for each other."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is computed."""

    tiny: bool
    # Prompt lengths of the logits: around page borders, in several chunks, past gemma's window of 512.
    prompts: tuple
    # Tokens that follow each of them, one a step.
    decoded: int
    # The most tokens of the ragged sequences, and what each generates.
    ragged_tokens: int
    generated: int
    # Decode: sequences, and the tokens before the first that is decoded.
    batches: tuple
    context: int
    decode_steps: int
    prefill: int
    # Mixed load: requests, how many at once, longest prompt and longest answer.
    mixed: tuple
    # transformers generates so many tokens behind that context, in two runs, and of the mixed load so many requests.
    peer_tokens: tuple
    peer_mixed: int
    # HTTP: clients, words of a prompt, tokens of an answer.
    clients: tuple
    words: int
    answer: int
    # Tokens of a step while throughput is measured.
    step_tokens: int
    # Bytes to copy and the side of the matrices, for the machine's own limits.
    copied: int
    matrix: int


REAL = Sizes(
    tiny=False,
    prompts=(5, 31, 32, 33, 64, 129, 700, 1100),
    decoded=8,
    ragged_tokens=380,
    generated=96,
    batches=(1, 8, 64, 256),
    context=2048,
    decode_steps=24,
    prefill=8192,
    mixed=(128, 64, 2048, 256),
    peer_tokens=(4, 16),
    peer_mixed=32,
    clients=(64, 256),
    words=40,
    answer=128,
    step_tokens=8192,
    copied=2 << 30,
    matrix=8192,
)
TINY = Sizes(
    tiny=True,
    prompts=(3, 31, 33, 70),
    decoded=4,
    ragged_tokens=60,
    generated=80,
    batches=(1, 2, 4, 8),
    context=64,
    decode_steps=6,
    prefill=128,
    mixed=(8, 4, 48, 12),
    peer_tokens=(2, 6),
    peer_mixed=4,
    clients=(2, 4),
    words=8,
    answer=12,
    step_tokens=256,
    copied=64 << 20,
    matrix=512,
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a part is told. `device` is both weir's and PyTorch's name of it."""

    device: str
    weir: object
    work: object
    sizes: Sizes

    def found(self, part):
        """The figures that an earlier part left, none if it did not get there."""
        results = self.work / f"{part}.json"
        return json.loads(results.read_text())["figures"] if results.exists() else {}


class Outcome:
    """What a part has found so far; it is in the work folder at once, because the part may be ended at any time."""

    def __init__(self, work, name):
        self.path = work / f"{name}.json"
        self.tables, self.goals, self.notes, self.figures = [], [], [], {}

    def table(self, title, head, rows):
        """A table of the report, which replaces one of the same title; cells are text or numbers."""
        self.tables = [table for table in self.tables if table["title"] != title]
        self.tables.append({"title": title, "head": head, "rows": rows})
        self.write()

    def goal(self, what, measured, at_most=None, at_least=None):
        """A figure that is to be on one side of a limit."""
        met = measured <= at_most if at_most is not None else measured >= at_least
        limit = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
        self.goals.append({"what": what, "measured": float(measured), "limit": limit, "met": bool(met)})
        self.write()

    def note(self, text):
        """A sentence below the tables."""
        self.notes.append(text)
        self.write()

    def write(self):
        """Leaves it all in the work folder."""
        everything = {key: value for key, value in vars(self).items() if key != "path"}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(everything))
        part.replace(self.path)


def results(work, name):
    """What a part left, none if nothing."""
    path = work / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None
