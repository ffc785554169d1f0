"""Tiny models in the hub's shape for the transformers binding, made on the CPU in seconds.

tiny_llama()      -> folder: a llama with a chat template, which says the answers of ``REPLIES`` word for word
tiny_vits()       -> folder: a random VITS of three speakers, which makes noise at ``VITS_RATE``
tiny_encoder()    -> folder: a random BERT of 32 numbers, for embeddings
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from fakes.made_once import made_once
from fakes.tiny_model import REPLIES

__all__ = ["CONTEXT", "REPLIES", "VITS_RATE", "tiny_encoder", "tiny_llama", "tiny_vits"]

VITS_RATE: Final = 16_000
CONTEXT: Final = 2048
"""tokens"""
_LETTERS: Final = "_ abcdefghijklmnopqrstuvwxyz'"


def tiny_llama() -> Path:
    return made_once("fakes.tiny_torch", "llama")


def tiny_vits() -> Path:
    return made_once("fakes.tiny_torch", "vits")


def tiny_encoder() -> Path:
    return made_once("fakes.tiny_torch", "encoder")


def _make_llama(path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    from fakes import tiny_model

    plain = tiny_model._tokenizer()
    model = tiny_model._train(plain)
    model.config.max_position_embeddings = CONTEXT
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=CONTEXT, **special)
    tokenizer.chat_template = tiny_model._TEMPLATE
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def _make_vits(path: Path) -> None:
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    path.mkdir(parents=True)
    vocabulary = path / "vocab.json"
    vocabulary.write_text(json.dumps({letter: number for number, letter in enumerate(_LETTERS)}), encoding="utf-8")
    special = {"pad_token": "_", "unk_token": "_"}
    tokenizer = VitsTokenizer(str(vocabulary), phonemize=False, add_blank=True, normalize=True, **special)
    torch.manual_seed(0)
    config = VitsConfig(
        vocab_size=len(_LETTERS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=64,
        flow_size=32,
        spectrogram_bins=33,
        prior_encoder_num_flows=2,
        upsample_initial_channel=32,
        upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        duration_predictor_filter_channels=32,
        depth_separable_num_layers=2,
        duration_predictor_num_flows=2,
        posterior_encoder_num_wavenet_layers=2,
        prior_encoder_num_wavenet_layers=2,
        wavenet_kernel_size=3,
        sampling_rate=VITS_RATE,
        num_speakers=3,
        speaker_embedding_size=8,
    )
    VitsModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)


def _make_encoder(path: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = sorted({word for text in (*REPLIES, *REPLIES.values()) for word in text.lower().split()})
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 -- the word for unknown ones
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(path)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(path)


_RECIPES: Final[dict[str, Any]] = {"llama": _make_llama, "vits": _make_vits, "encoder": _make_encoder}

if __name__ == "__main__":
    _RECIPES[sys.argv[2]](Path(sys.argv[1]))
