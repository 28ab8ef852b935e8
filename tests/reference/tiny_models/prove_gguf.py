"""Proves the tiny GGUF files by a reference that is not ours: llama.cpp must give transformers' logits.

    pip install xllamacpp==2026.10.11549
    python tests/reference/tiny_models/prove_gguf.py [tests/tiny_models/NAME/model.gguf ...]

llama.cpp's server, in a process of its own for each file, answers with the log-probabilities of all tokens behind each
golden prompt; they are compared with the golden logits' log-softmax. Prints the largest difference, and exits with 1
if one is above what the file's type allows (TOLERANCES). What llama.cpp computes otherwise is in SHORT_ONLY.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

sys.path.insert(0, str(Path(__file__).parents[1]))
from compare_greedy import free_port, post  # noqa: E402

FOLDER = Path(__file__).parents[2] / "tiny_models"
# llama.cpp computes gelu from a table of f16, and rounds what it multiplies with f16 or bf16 matrices.
TOLERANCES = {
    gguf.LlamaFileType.ALL_F32: 0.005,
    gguf.LlamaFileType.MOSTLY_F16: 0.02,
    gguf.LlamaFileType.MOSTLY_BF16: 0.2,
}
# Tokens up to which llama.cpp computes what transformers does, and what it does then.
SHORT_ONLY = {
    "phi3/model.gguf": (24, "llama.cpp ignores phi3's sliding window"),
    "deepseek-v2/model.gguf": (7, "llama.cpp judges a group by its two best experts, DeepSeek-V2 by its best"),
}


def main():
    parser = argparse.ArgumentParser(description="Compare the tiny GGUF files' logits with llama.cpp's.")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--one", action="store_true", help="compare in this process, which llama.cpp may end")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(differences(options.files[0])))
        return 0
    passed = [report(file) for file in options.files or sorted(FOLDER.glob("*/*.gguf"))]
    print(f"{sum(passed)} of {len(passed)} files agree")
    return 0 if all(passed) else 1


def report(file):
    """Prints a file's verdict, or llama.cpp's own error, and returns whether it passes."""
    name = f"{file.parent.name}/{file.name}"
    longest, why = SHORT_ONLY.get(name, (math.inf, ""))
    result = subprocess.run([sys.executable, __file__, "--one", file], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        errors = [line for line in result.stderr.splitlines() if "rror" in line or "ssert" in line]
        print(f"{name}: REFUSED: {(errors or [result.stderr])[0]}")
        return False
    found = {int(length): value for length, value in json.loads(result.stdout.splitlines()[-1]).items()}
    worst = max(value for length, value in found.items() if length <= longest)
    passes = worst <= TOLERANCES[scalar(gguf.GGUFReader(file), gguf.Keys.General.FILE_TYPE)]
    scope = f" up to {longest} tokens; beyond them {max(found.values()):.2g}, as {why}" if why else ""
    print(f"{name}: {'agrees' if passes else 'DIFFERENT'}, by {worst:.2g} at most{scope}")
    return passes


def scalar(reader, key, absent=None):
    field = reader.get_field(key)
    return absent if field is None else field.contents()


def differences(file):
    """The largest difference of a log-probability behind each golden prompt, by its number of tokens."""
    golden = json.loads((file.parent / "golden.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        server, url = start(with_q_lora_rank(file, Path(folder) / file.name))
        found = compare(golden, url)
        del server
    return found


def with_q_lora_rank(file, copy):
    """DeepSeek-V2-Lite's files have no q_lora_rank, which llama.cpp lets pass at that model's 27 layers only.

    A copy that says 0 is the same model to it.
    """
    reader = gguf.GGUFReader(file)
    key = gguf.Keys.Attention.Q_LORA_RANK.format(arch="deepseek2")
    if scalar(reader, gguf.Keys.General.ARCHITECTURE) != "deepseek2" or scalar(reader, key) is not None:
        return file
    writer = gguf.GGUFWriter(copy, "deepseek2")
    copy_with_new_metadata(reader, writer, {key: MetadataDetails(gguf.GGUFValueType.UINT32, 0)}, [])
    return copy


def compare(golden, url):
    found_by_length = {}
    for prompt in golden["prompts"]:
        for row in prompt["rows"]:
            length = row["position"] + 1
            found = logprobs(url, prompt["tokens"][:length])
            expected = log_softmax(row["logits"])
            found_by_length[length] = max(abs(found[token] - value) for token, value in enumerate(expected))
    return found_by_length


def start(file):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.port = free_port()
    params.n_ctx = 256
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.warmup = False
    reader = gguf.GGUFReader(file)
    architecture = scalar(reader, gguf.Keys.General.ARCHITECTURE)
    # llama.cpp reads these two for few architectures, deepseek2 is none of them.
    params.yarn_beta_fast = scalar(reader, gguf.Keys.Rope.SCALING_YARN_BETA_FAST.format(arch=architecture), -1.0)
    params.yarn_beta_slow = scalar(reader, gguf.Keys.Rope.SCALING_YARN_BETA_SLOW.format(arch=architecture), -1.0)
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
