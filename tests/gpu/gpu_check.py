"""Holds weir to PyTorch and measures it, on the GPU of this machine, and writes one report in Markdown.

    python gpu_check.py --weir PATH [--device cuda|cpu] [--dry-run] [--parts NAME,...] [--output FILE]

Each part is a process of its own with a time of its own: one that fails or takes too long is reported, and the next one
runs. All of it ends within --budget seconds. What the parts are stands in README.md; what each measures, in its file.
Needs PyTorch, transformers and numpy; no network. Every model is made here, of random numbers.
"""

import argparse
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import plan
import report

# In the order in which they matter, but for those that need what others found: the name, the module, its function's
# argument, and the seconds it may take on a GPU.
PARTS = [
    ("floors", "floors", None, 40),
    ("logits-llama-1b", "logits", "llama-1b", 60),
    ("sequences", "sequences", "llama-1b", 70),
    ("logits-qwen3", "logits", "qwen3", 50),
    ("logits-gemma3", "logits", "gemma3", 60),
    ("serving", "serving", "llama-8b", 110),
    ("speed", "speed", "llama-8b", 140),
    ("logits-llama-8b", "logits", "llama-8b", 90),
    ("transformers", "transformers_speed", "llama-8b", 100),
    ("memcheck", "memcheck", None, 90),
    ("tp", "shared", ("llama-1b", "llama-8b"), 90),
]

# Seconds for all of them, most of which end long before their time is up.
BUDGET = 460


def main():
    arguments = parse()
    missing = [name for name in ("numpy", "torch", "transformers", "safetensors") if not importlib.util.find_spec(name)]
    if missing:
        sys.exit(f"gpu-check: {sys.executable} lacks {', '.join(missing)}: call it with a Python that has them")
    if arguments.part:
        return run_part(arguments)
    refusal = report.refusal(arguments)
    if refusal:
        sys.exit(f"gpu-check: {refusal}")
    # Who ends this ends the part that is running, and its gigabytes go too.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    work = pathlib.Path(tempfile.mkdtemp(prefix="weir-gpu-check-", dir=roomy_folder(arguments.dry_run)))
    try:
        return check(arguments, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", type=pathlib.Path, required=True, help="the program, or its launcher")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where both compute [default: cuda]")
    parser.add_argument("--dry-run", action="store_true", help="tiny models and loads: to see whether the check itself works")
    parser.add_argument("--parts", help="only these, separated by commas [default: all]")
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"seconds for all parts together; more gives each more [default: {BUDGET}]")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("gpu-check.md"), help="the report [default: gpu-check.md]")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.weir = arguments.weir.resolve()
    known = [name for name, *_ in PARTS]
    arguments.chosen = arguments.parts.split(",") if arguments.parts else known
    for name in arguments.chosen:
        if name not in known:
            parser.error(f"--parts: no part is called `{name}`; there are {', '.join(known)}")
    return arguments


def check(arguments, work):
    """Runs every part and writes the report; 0 if all ran and every goal is met."""
    begun = time.monotonic()
    head = report.environment(arguments)
    patience = max(1.0, arguments.budget / BUDGET)
    outcomes = []
    for name, _, _, seconds in PARTS:
        if name not in arguments.chosen:
            continue
        left = arguments.budget - (time.monotonic() - begun)
        outcomes.append(watch(arguments, work, name, min(seconds * patience, left)))
        took = outcomes[-1]["seconds"]
        print(f"{name}: {outcomes[-1]['state']}, {took:.0f} s", flush=True)
        arguments.output.write_text(report.markdown(head, outcomes, time.monotonic() - begun), encoding="utf-8")
    print(arguments.output)
    met = all(goal["met"] for outcome in outcomes for goal in outcome.get("goals", []))
    return 0 if met and all(outcome["state"] == "done" for outcome in outcomes) else 1


def watch(arguments, work, name, seconds):
    """One part in a process of its own, with what it started, ended after so many seconds."""
    if seconds < 5:
        return {"name": name, "state": "not begun: no time was left", "seconds": 0}
    command = [sys.executable, __file__, "--part", name, "--work", str(work), "--weir", str(arguments.weir)]
    command += ["--device", arguments.device] + ["--dry-run"] * arguments.dry_run
    begun = time.monotonic()
    log = work / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            process.wait(seconds)
            state = "done" if process.returncode == 0 else f"failed with {process.returncode}"
        except subprocess.TimeoutExpired:
            state = f"cut off after {seconds:.0f} s"
        finally:
            end(process)
    outcome = {"name": name, "state": state, "seconds": time.monotonic() - begun}
    results = plan.results(work, name)
    if results:
        outcome |= results
    if state != "done":
        outcome["log"] = log.read_text(errors="replace").splitlines()[-15:]
    return outcome


def end(process):
    """Ends a part and what it started, which may have outlived it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_part(arguments):
    """What the process of a part does."""
    module, argument = next((module, argument) for name, module, argument, _ in PARTS if name == arguments.part)
    sizes = plan.TINY if arguments.dry_run else plan.REAL
    the_plan = plan.Plan(arguments.device, arguments.weir, arguments.work, sizes)
    outcome = plan.Outcome(arguments.work, arguments.part)
    try:
        importlib.import_module(module).run(the_plan, argument, outcome)
        outcome.write()
        return 0
    except Exception:
        traceback.print_exc()
        return 1


def roomy_folder(dry_run):
    """Memory, if it has room for the 8B model; writing that to a disk takes most of the time there is."""
    memory = pathlib.Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free > 40e9
    return memory if room and not dry_run else None


if __name__ == "__main__":
    sys.exit(main())
