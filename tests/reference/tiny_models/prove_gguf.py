"""Proves the tiny GGUF files by a reference that is not ours: llama.cpp must give transformers' logits.

    pip install xllamacpp==2026.10.11549
    python tests/reference/tiny_models/prove_gguf.py [tests/tiny_models/NAME/model.gguf ...]

llama.cpp's server, in a process of its own for each file, answers with the log-probabilities of all tokens behind each
golden prompt; they are compared with the golden logits' log-softmax. Prints the largest difference, and exits with 1
if one is above what the file's type allows: llama.cpp computes gelu from a table of f16, and rounds what it multiplies
with f16 or bf16 matrices.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from compare_greedy import free_port, post  # noqa: E402

FOLDER = Path(__file__).parents[2] / "tiny_models"


def main():
    parser = argparse.ArgumentParser(description="Compare the tiny GGUF files' logits with llama.cpp's.")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--one", action="store_true", help="compare in this process, which llama.cpp may end")
    options = parser.parse_args()
    if options.one:
        print(largest_difference(options.files[0]))
        return 0
    failed = 0
    for file in options.files or sorted(FOLDER.glob("*/*.gguf")):
        result = subprocess.run([sys.executable, __file__, "--one", file], capture_output=True, text=True, check=False)
        verdict, passes = judge(result, 0.005)
        failed += not passes
        print(f"{file.parent.name}/{file.name}: {verdict}")
    return 1 if failed else 0


def judge(result, tolerance):
    """The child's last line, or llama.cpp's own error, and whether the file passes."""
    if result.returncode == 0:
        differences = json.loads(result.stdout.splitlines()[-1])
        worst = max(differences.values())
        return f"{worst:.2g} at most, by tokens before: {differences}", worst <= tolerance
    errors = [line for line in result.stderr.splitlines() if "rror" in line or "ssert" in line]
    return "refused: " + " | ".join(errors[:2] or result.stderr.splitlines()[-1:]), False


def largest_difference(file):
    golden = json.loads((file.parent / "golden.json").read_text(encoding="utf-8"))
    server, url = start(file)
    differences = {}
    for prompt in golden["prompts"]:
        for row in prompt["rows"]:
            length = row["position"] + 1
            found = logprobs(url, prompt["tokens"][:length])
            expected = log_softmax(row["logits"])
            differences[length] = round(max(abs(found[token] - value) for token, value in enumerate(expected)), 6)
    del server
    return json.dumps(differences)


def start(file):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.port = free_port()
    params.n_ctx = 256
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    return server, server.listening_address


def logprobs(url, tokens):
    """The log-probability of every token behind these."""
    body = {"prompt": tokens, "n_predict": 1, "temperature": 0, "n_probs": 96, "cache_prompt": False}
    step = post(url + "/completion", body)["completion_probabilities"][0]
    return {top["id"]: top["logprob"] for top in step["top_logprobs"]}


def log_softmax(logits):
    largest = max(logits)
    total = largest + math.log(sum(math.exp(logit - largest) for logit in logits))
    return [logit - total for logit in logits]


if __name__ == "__main__":
    sys.exit(main())
