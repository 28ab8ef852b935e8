"""Writes tests/corpora/prompt_embeds/cases.jsonl: what `torch.save` makes of tensors, in base64, each with its numbers or what is wrong.

    pip install torch==2.14.0 numpy
    python3 tests/reference/prompt_embeds.py

A case is `{"name", "columns", "base64"}` and either `rows`, the numbers as a model shall read them, or `error`, a part of the complaint.
"""

import base64
import io
import json
import pathlib

import torch

COLUMNS = 4
OUTPUT = pathlib.Path(__file__).parents[1] / "corpora/prompt_embeds/cases.jsonl"


def main():
    numbers = torch.tensor([[0.5, -1.0, 2.25, 0.0], [3.0, 1e-3, -7.5, 8.0], [-0.125, 4.0, 5.0, 6.0]])
    wide = torch.arange(24, dtype=torch.float32).reshape(3, 8)
    infinite = numbers.clone()
    infinite[1, 2] = float("inf")
    taken = {
        "float32": numbers,
        "float16": numbers.half(),
        "bfloat16": numbers.bfloat16(),
        "a batch of one": numbers.unsqueeze(0),
        "with a gradient": numbers.clone().requires_grad_(),
        "a parameter": torch.nn.Parameter(numbers),
        "some columns of a wider tensor": wide[:, 2:6],
        "transposed": numbers.T.contiguous().T,
        "many rows": torch.linspace(-1, 1, 300 * COLUMNS).reshape(300, COLUMNS),
    }
    refused = {
        "float64": (numbers.double(), "DoubleStorage"),
        "whole numbers": (numbers.long(), "LongStorage"),
        "one dimension": (numbers[0], "[4]"),
        "a batch of two": (torch.stack([numbers, numbers]), "[2, 3, 4]"),
        "too wide": (wide, "[3, 8]"),
        "no rows": (numbers[:0], "[0, 4]"),
        "one row, repeated": (numbers[:1].clone().expand(3, COLUMNS), "contiguous"),
        "infinity": (infinite, "row 1, column 2"),
        "a list of tensors": ([numbers], "opcode"),
        "a dictionary": ({"weight": numbers}, "opcode"),
        "a function": (print, "no single tensor"),
        "sparse": (numbers.to_sparse(), "only a dense tensor"),
    }
    lines = [case(name, saved(tensor), rows=numbers_of(tensor)) for name, tensor in taken.items()]
    lines += [case(name, saved(value), error=error) for name, (value, error) in refused.items()]
    old = io.BytesIO()
    torch.save(numbers, old, _use_new_zipfile_serialization=False)
    lines += [case("torch's older format", old.getvalue(), error="ZIP archive"), case("nothing", b"", error="ZIP archive")]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def numbers_of(tensor):
    return tensor.detach().float().reshape(-1, COLUMNS).tolist()


def case(name, data, **judged):
    return {"name": name, "columns": COLUMNS, "base64": base64.b64encode(data).decode(), **judged}


if __name__ == "__main__":
    main()
