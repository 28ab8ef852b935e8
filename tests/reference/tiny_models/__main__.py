"""Makes the tiny random-weight checkpoints that hold weir's decoder to transformers' logits.

    pip install torch==2.15.0 transformers==5.23.0 safetensors==0.8.0 gguf==0.19.0
    OMP_NUM_THREADS=1 python tests/reference/tiny_models [NAME ...] [--out tests/tiny_models]

Each folder gets config.json and safetensors as the hub's model of that family has them, golden.json with the logits
that transformers computes in f32 on the CPU, and GGUF files as llama.cpp's converter writes them. The same packages
give the same bytes. golden.json: `prompts`, each with its `tokens` and `rows`; a row's `logits` are those behind the
token at `position`, counted from 0. `last` is the last token's hidden state behind the last norm, `mean` the mean of all
tokens'. A folder `transformers5` holds the config.json that transformers 5 writes for the same weights. prove_gguf.py
compares the GGUF files with llama.cpp.
"""

import argparse
import shutil
from pathlib import Path

import torch
import transformers

import checkpoint
import gguf_file
from families import MODELS, SPELLED_ANEW


def main():
    parser = argparse.ArgumentParser(description="Make the tiny checkpoints and their goldens.")
    parser.add_argument("names", nargs="*", help="which models; all if none is named")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "tiny_models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in options.names or MODELS:
        make(name, MODELS[name], options.out / name)


def make(name, model, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = checkpoint.make(name, model, folder, name in SPELLED_ANEW)
    for file, options in model.gguf.items():
        gguf_file.write(folder / file, name, model.config, weights, **options)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
