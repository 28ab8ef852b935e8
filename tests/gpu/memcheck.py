"""weir's kernels under compute-sanitizer's memcheck: its self-test at the start, which holds every kernel to plain arithmetic,
then prompts in chunks, decode, page borders and windows, on small models with the head sizes of real ones."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import models

MODELS = ["small-llama", "small-qwen3", "small-gemma3"]
TOOL = "compute-sanitizer"
OPTIONS = ["--tool", "memcheck", "--error-exitcode", "86"]
PROMPTS = (1, 31, 32, 33, 100, 161)
DECODED = 4


def run(plan, _, outcome):
    tool = find_tool() if plan.device == "cuda" else None
    if plan.device == "cuda" and not tool:
        outcome.note(f"{TOOL} is not on this machine: the same orders ran without it.")
    under = f"under {TOOL}" if tool else "alone"
    rows = []
    for name in MODELS:
        sequences = [[(7 * place + 13) % 500 for place in range(length + DECODED)] for length in PROMPTS]
        orders = [
            {"order": "logits", "sequences": sequences, "from": [length - 1 for length in PROMPTS], "max_num_batched_tokens": 64},
            {"order": "generate", "requests": [{"prompt": tokens, "max_tokens": 4} for tokens in sequences]},
        ]
        output = orders_done(plan, tool, models.folder(plan, name), orders)
        text = output.stdout + output.stderr
        print(text)
        answers = sum(line.startswith("{") and not line.startswith('{"error"') for line in output.stdout.splitlines())
        summary = re.search(r"ERROR SUMMARY: .*", text)
        rows.append([name, f"{answers} of {len(orders)}", summary.group(0) if summary else None, output.returncode])
        outcome.goal(f"{name} {under}: orders not done", len(orders) - answers, at_most=0)
        outcome.goal(f"{name} {under}: exit status", output.returncode, at_most=0)
    outcome.table(f"weir engine {under}", ["model", "orders done", "memcheck", "exit status"], rows)


def orders_done(plan, tool, folder, orders):
    weir = ["engine", "--device", plan.device, "--model", str(folder)]
    weir += ["--kv-cache-memory", "64MiB", "--max-model-len", "512"]
    environment = dict(os.environ)
    packed = plan.weir.parent / "bin/weir"
    command = [str(plan.weir), *weir]
    if tool and packed.exists():
        # The launcher finds the libraries, then starts the tool in weir's place.
        environment["GPU_CHECK_PROGRAM"] = tool
        command = [str(plan.weir), *OPTIONS, str(packed), *weir]
    elif tool:
        command = [tool, *OPTIONS, *command]
    lines = "".join(json.dumps(order) + "\n" for order in orders)
    return subprocess.run(command, input=lines, env=environment, capture_output=True, text=True)


def find_tool():
    """On the PATH, in CUDA's usual place or in a Python package."""
    packages = (str(path) for entry in sys.path for path in pathlib.Path(entry).glob("nvidia/*/bin"))
    places = [os.environ.get("PATH", ""), "/usr/local/cuda/bin", *packages]
    return shutil.which(TOOL, path=os.pathsep.join(places))
