"""The report: where it ran, which goals are met, and every part's tables."""

import json
import pathlib
import platform
import subprocess
import time

TITLE = "# weir on a GPU"
DRY_RUN = "# Dry run of gpu-check"


def environment(arguments):
    """The rows of the first table."""
    import numpy
    import torch
    import transformers

    rows = [("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())), ("commit", commit(arguments.weir))]
    if arguments.device == "cuda" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        rows.append(("device", f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"))
        rows.append(("compute capability", f"{properties.major}.{properties.minor}"))
        rows.append(("driver", said(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])))
        rows.append(("CUDA of PyTorch", torch.version.cuda))
    elif arguments.device == "cuda":
        rows.append(("device", "PyTorch finds no GPU"))
    else:
        rows.append(("device", f"processor, {platform.machine()}, {torch.get_num_threads()} threads of PyTorch"))
    rows += [
        ("PyTorch", torch.__version__),
        ("transformers", transformers.__version__),
        ("numpy, Python", f"{numpy.__version__}, {platform.python_version()}"),
        ("weir", said([str(arguments.weir), "version"])),
    ]
    build = build_of(arguments.weir)
    if build:
        kept = f"heads of {build['head_sizes']}, {'bf16 and f16' if build['f16'] else 'bf16'}"
        rows.append(("build", f"nvcc {build['nvcc']}, capability {build['compute_capabilities']}, {kept}, {build['profile']} profile, {build['date']}"))
    return {"dry_run": arguments.dry_run, "rows": rows}


def refusal(arguments):
    """Why nothing can be measured on this machine's GPU, before gigabytes are made; none if all is there."""
    if arguments.device != "cuda":
        return None
    import torch

    if not torch.cuda.is_available():
        return "PyTorch finds no GPU: is NVIDIA's driver installed? (--device cpu --dry-run tries the check itself)"
    version = subprocess.run([str(arguments.weir), "version"], capture_output=True, text=True)
    lacking = [line for line in version.stderr.splitlines() if "not on this machine" in line]
    if lacking or version.returncode != 0:
        return "; ".join(lacking or version.stderr.splitlines()[-1:]) + " (install CUDA's libraries, or name their folder in LD_LIBRARY_PATH)"
    build = build_of(arguments.weir)
    major, minor = torch.cuda.get_device_capability(0)
    if build and not any(runs_on(built, 10 * major + minor) for built in build["compute_capabilities"]):
        return (
            f"this build is for compute capability {build['compute_capabilities']}, the GPU has {10 * major + minor}: "
            f"build it with cargo xtask cuda --compute-cap {10 * major + minor}"
        )
    return None


def runs_on(built, device):
    """Whether a device runs what was built for a capability: a later one of the same generation does, from 90 on only itself."""
    return built == device or (built < 90 and built // 10 == device // 10 and built < device)


def build_of(weir):
    """build.json beside the launcher."""
    path = weir.parent / "build.json"
    return json.loads(path.read_text()) if path.exists() else None


def commit(weir):
    """Of the build, or of the checkout this file is in."""
    build = build_of(weir)
    if build:
        return build["commit"]
    here = pathlib.Path(__file__).parent
    changed = said(["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"])
    return said(["git", "-C", str(here), "rev-parse", "--short", "HEAD"]) + ("+" if changed else "")


def said(command):
    """The first line that a program prints."""
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    lines = (output.stdout or output.stderr).strip().splitlines()
    return lines[0] if lines else ""


def markdown(head, outcomes, seconds):
    """All of it."""
    lines = [DRY_RUN if head["dry_run"] else TITLE, ""]
    if head["dry_run"]:
        lines += ["Tiny models and loads, to see whether the check itself works: no figure here says anything of weir.", ""]
    lines += table(["", ""], head["rows"])
    done = sum(outcome["state"] == "done" for outcome in outcomes)
    lines += ["", f"{done} of {len(outcomes)} parts ran to their end, in {seconds:.0f} s.", "", "## Goals", ""]
    goals = [
        [goal["what"], number(goal["measured"]), goal["limit"], "met" if goal["met"] else "**not met**"]
        for outcome in outcomes
        for goal in outcome.get("goals", [])
    ]
    lines += table(["goal", "measured", "limit", ""], goals) if goals else ["None was measured."]
    for outcome in outcomes:
        lines += ["", f"## {outcome['name']}", "", f"{outcome['state']}, {outcome['seconds']:.1f} s"]
        for one in outcome.get("tables", []):
            lines += ["", f"{one['title']}:", "", *table(one["head"], one["rows"])]
        for note in outcome.get("notes", []):
            lines += ["", note]
        if outcome.get("log"):
            lines += ["", "```", *outcome["log"], "```"]
    return "\n".join(lines) + "\n"


def table(head, rows):
    """A table's lines."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(number(cell) for cell in row) + " |" for row in rows]


def number(cell):
    """Three digits or more that say something; text as it is."""
    if cell is None:
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    if cell == 0 or abs(cell) >= 100:
        return f"{cell:.0f}"
    return f"{cell:.3g}"
