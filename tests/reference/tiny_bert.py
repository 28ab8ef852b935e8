"""Makes tiny embedding models with random weights, and the vectors that sentence-transformers computes with them.

Each folder under tests/tiny_models/ is one model as it would be published: config.json, model.safetensors, a
tokenizer.json, the files of sentence-transformers, and golden.json beside them: token ids of texts, and their vectors.
`bert-mean` is also written as GGUF. The same seed gives the same files.

usage: python tests/reference/tiny_bert.py
needs: torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 safetensors==0.8.0 gguf==0.19.0 tokenizers==0.23.3
"""

import json
import random
from pathlib import Path

import gguf
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

OUT = Path(__file__).resolve().parent.parent / "tiny_models"
SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
WINDOW = 32
TEXT_LENGTHS = [1, 2, 3, 7, 8, 17, 31, WINDOW]

# folder: class, its configuration, pooling, normalised, prefix of tensor names, type of the stored numbers
MODELS = {
    "bert-mean": (BertModel, BertConfig(hidden_act="gelu", **SIZES), "mean", True, "", torch.float32),
    "bert-cls": (BertModel, BertConfig(hidden_act="gelu_new", **SIZES), "cls", False, "bert.", torch.bfloat16),
    "roberta-max": (
        RobertaModel,
        RobertaConfig(hidden_act="relu", type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, **SIZES),
        "max",
        False,
        "",
        torch.float16,
    ),
}

# Written by transformers' state_dict -> named by gguf-py/gguf/constants.py.
GGUF_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def weights(model, dtype):
    """Random weights, large enough that every part of the model shows in its vectors, as the file rounds them."""
    generator = torch.Generator().manual_seed(5)
    state = {}
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=generator) * 0.3
        is_scale = name.endswith("LayerNorm.weight")
        state[name] = (noise + 1.0 if is_scale else noise).to(dtype).contiguous()
    return state


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def tokenizer():
    """WordPiece over letters and a few syllables; ids 0 to 3 are special."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *("##" + letter for letter in letters)]
    pieces += ["the", "##ing", "he", "##llo", "wor", "##ld", ".", "!"]
    assert len(pieces) == SIZES["vocab_size"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
    )
    # As published files have it; a reader that leaves it in force cuts and pads every text.
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    return tokenizer


def write_folder(folder, architecture, config, pooling, normalized, state):
    write_json(
        folder / "config.json",
        {"architectures": [architecture], **{k: v for k, v in config.to_dict().items() if k != "architectures"}},
    )
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "sep_token": "[SEP]",
         "pad_token": "[PAD]", "unk_token": "[UNK]"},
    )
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds[: 3 if normalized else 2])
    ]
    write_json(folder / "modules.json", modules)
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    switches = {f"pooling_mode_{switch}": mode == pooling for mode, switch in modes.items()}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": config.hidden_size, **switches})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": WINDOW, "do_lower_case": False})


def write_gguf(path, config, state):
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    for name, value in state.items():
        part, _, kind = name.rpartition(".")
        if part.startswith("encoder.layer."):
            _, _, index, part = part.split(".", 3)
            name = f"blk.{index}.{GGUF_NAMES[part]}.{kind}"
        elif part in GGUF_NAMES:
            name = f"{GGUF_NAMES[part]}.{kind}"
        else:
            continue
        writer.add_tensor(name, value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vectors(folder, texts):
    """One text at a time, in f32."""
    reference = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    found = []
    for text in texts:
        ids = torch.tensor([text])
        with torch.no_grad():
            output = reference({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        found.append(output["sentence_embedding"][0].tolist())
    return found


def main():
    torch.set_num_threads(1)
    choice = random.Random(7)
    texts = [[choice.randrange(2, SIZES["vocab_size"]) for _ in range(length)] for length in TEXT_LENGTHS]
    for name, (build, config, pooling, normalized, prefix, dtype) in MODELS.items():
        folder = OUT / name
        state = weights(build(config), dtype)
        write_folder(
            folder, build.__name__, config, pooling, normalized, {prefix + key: value for key, value in state.items()}
        )
        if name == "bert-mean":
            write_gguf(folder / "model.gguf", config, state)
        golden = {"texts": texts, "vectors": vectors(folder, texts)}
        (folder / "golden.json").write_text(json.dumps(golden) + "\n")


main()
