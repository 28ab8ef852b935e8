"""What a tokenizer to compare with is: the libraries that say ids, and the forms in which weir reads a vocabulary.

A reference is a library that nobody here wrote, on the vocabulary of a package. A form is a file that weir reads: the
package's own, or the fields of a GGUF file with that vocabulary, laid out as llama.cpp's converter does.
"""

import dataclasses
import functools
import json
import re

import sentencepiece
import tokenizers
from gguf import GGUFReader, TokenType
from sentencepiece import sentencepiece_model_pb2


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
    strings: list | None = None  # its own in place of the corpus
    # Name of the form: function from a string to other ids that are right there too, or None.
    excused: dict = dataclasses.field(default_factory=dict)


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

    def __init__(self, model):
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
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


def sentencepiece_model(fields):
    """The model file, as bytes, that a GGUF file's pieces and scores came from; its rules are those of all families here."""
    model = sentencepiece_model_pb2.ModelProto()
    for text, score, kind in zip(fields["tokens"], fields["scores"], fields["token_types"]):
        marked = text.replace(" ", "\u2581") if kind == TokenType.USER_DEFINED else text
        model.pieces.add(piece=marked, score=score, type=kind)
    model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.unk_id = fields["unk"]
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = fields.get("add_space_prefix", True)
    model.normalizer_spec.remove_extra_whitespaces = False
    return model.SerializeToString()


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
