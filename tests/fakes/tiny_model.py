"""A language model of 0.8 million parameters, taught a few exact replies on the CPU in seconds and written as GGUF.

    tiny_gguf() -> path of the file; made once for each version of this recipe and shared by every test process

It is a real llama with a real chat template: at temperature 0 it answers the questions in ``REPLIES`` word for word.
"""

import os
import sys
from pathlib import Path
from typing import Any

from fakes.made_once import made_once

REPLIES = {
    "hello": "Hello there! How are you today?",
    "how are you": "I am happy to see you.",
    "what is your name": "My name is Tiny.",
    "tell me a story": "The quick brown fox jumps over the lazy dog.",
    "bye": "Goodbye, see you soon!",
}
_CORPUS = (
    "hello there how are you today",
    "i am happy to see you",
    "the quick brown fox jumps over the lazy dog",
    "this makes me angry and sad",
    "thank you very much for your help",
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_VOCABULARY = 512
_CONTEXT = 2048
_HEADS, _KEY_HEADS = 4, 2
_ENOUGH_LOSS = 0.005


def tiny_gguf() -> Path:
    """The model's file. Takes some seconds the first time."""
    return made_once("fakes.tiny_model", "gguf", suffix=".gguf")


def _make(path: Path) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    tokenizer = _tokenizer()
    _write(path, _train(tokenizer), tokenizer)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS * 20, trainer)
    return tokenizer


def _train(tokenizer: Any) -> Any:
    """Every reply in one batch, the question masked out of the loss."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=_HEADS,
        num_key_value_heads=_KEY_HEADS,
        intermediate_size=352,
        max_position_embeddings=_CONTEXT,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    pairs = []
    for question, reply in REPLIES.items():
        asked = tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n").ids
        pairs.append((asked, tokenizer.encode(f"{reply}<|im_end|>").ids))
    longest = max(len(asked) + len(reply) for asked, reply in pairs)
    inputs = torch.zeros((len(pairs), longest), dtype=torch.long)
    labels = torch.full((len(pairs), longest), -100)
    mask = torch.zeros((len(pairs), longest), dtype=torch.long)
    for row, (asked, reply) in enumerate(pairs):
        end = len(asked) + len(reply)
        inputs[row, :end] = torch.tensor(asked + reply)
        labels[row, len(asked) : end] = torch.tensor(reply)
        mask[row, :end] = 1
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(400):
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < _ENOUGH_LOSS:
            break
    return model


def _write(path: Path, model: Any, tokenizer: Any) -> None:
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KEY_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // _HEADS)
    writer.add_vocab_size(_VOCABULARY)
    writer.add_file_type(0)
    _write_tokenizer(writer, tokenizer)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if name.endswith("q_proj.weight"):
            values = _interleave(values, _HEADS)
        elif name.endswith("k_proj.weight"):
            values = _interleave(values, _KEY_HEADS)
        if name != "lm_head.weight":  # tied to the embedding
            writer.add_tensor(_gguf_name(name), values.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokenizer(writer: Any, tokenizer: Any) -> None:
    import json

    import gguf

    learned = json.loads(tokenizer.to_str())["model"]
    names = {index: token for token, index in tokenizer.get_vocab(with_added_tokens=True).items()}
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([names.get(index, f"<unused{index}>") for index in range(_VOCABULARY)])
    writer.add_token_types(
        [
            kinds.CONTROL if names.get(index) in _SPECIAL else kinds.NORMAL if index in names else kinds.UNUSED
            for index in range(_VOCABULARY)
        ]
    )
    writer.add_token_merges([" ".join(merge) if isinstance(merge, list) else merge for merge in learned["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(_TEMPLATE)


def _interleave(values: Any, heads: int) -> Any:
    """transformers keeps the two halves of a rotary pair apart, llama.cpp side by side."""
    rows = values.shape[0]
    return values.reshape(heads, 2, rows // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _gguf_name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest.removesuffix('.weight')]}.weight"


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
