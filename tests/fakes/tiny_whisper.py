"""A whisper of a few hundred thousand parameters, taught what flite says, in the hub's shape and in CTranslate2's.

    tiny_whisper()      -> folder for transformers
    tiny_whisper_ct2()  -> folder for faster-whisper

It is a real whisper with whisper's own special tokens. It knows the sentences of ``SAID`` in flite's voice ``slt``,
each alone, from its very beginning or as faster-whisper's voice activity filter cuts it with 200 ms around it, at
``beam_size`` 1; of anything else it makes some of their words.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes.flite import flite
from fakes.made_once import made_once

SAID = (
    "hello there how are you",
    "the quick brown fox jumps over the lazy dog",
)
RATE = 16_000
WINDOW_S = 30
_ENOUGH_LOSS = 0.01
_PADS_S = (0.18, 0.2, 0.22)
"""how much of the quiet before its words a voice activity filter leaves, and after them"""


def tiny_whisper() -> Path:
    return made_once("fakes.tiny_whisper", "transformers")


def tiny_whisper_ct2() -> Path:
    tiny_whisper()  # outside of the other's lock
    return made_once("fakes.tiny_whisper", "ct2")


def _tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import WhisperTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator([f" {text}" for text in SAID] * 20, trainer)
    special = ["endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "startoflm", "startofprev"]
    special += ["nospeech", "notimestamps"]
    made.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in special])
    made.add_tokens([AddedToken(f"<|{step / 50:.2f}|>") for step in range(50 * WINDOW_S + 1)])
    end = "<|endoftext|>"
    return WhisperTokenizerFast(
        tokenizer_object=made, bos_token=end, eos_token=end, unk_token=end, language="en", task="transcribe"
    )


def _heard(text: str) -> Any:
    import numpy as np

    speech = flite(text)
    assert speech.sample_rate == RATE
    return np.frombuffer(speech.pcm, "<i2").astype(np.float32) / 32768


def _variants(samples: Any, asked: list[int]) -> Iterator[tuple[Any, list[int], bool]]:
    """-> sound, how the model is asked, whether silence fills up the window (transformers) or zeros (faster-whisper,
    which takes so small a model for an English one and asks without language and task)."""
    import numpy as np

    yield samples, asked, True
    yield samples, asked[:1], False
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    for pad_s in _PADS_S:
        pad = round(pad_s * RATE)
        yield samples[max(0, loud[0] - pad) : loud[-1] + pad], asked[:1], False


def _make(path: Path) -> None:
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = _tokenizer()
    ids = tokenizer.get_vocab()
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=80,
        d_model=64,
        encoder_layers=0,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=50 * WINDOW_S,
        max_target_positions=448,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        init_std=0.1,  # so small a model learns nothing from the usual hundredths
    )
    model = WhisperForConditionalGeneration(config)
    extractor = WhisperFeatureExtractor(feature_size=80)
    asked = [start, ids["<|en|>"], ids["<|transcribe|>"]]
    sounds, targets = [], []
    for text in SAID:
        words = tokenizer.encode(f" {text}", add_special_tokens=False)
        heard = _heard(text)
        until = ids[f"<|{len(heard) // RATE}.00|>"]
        for samples, question, is_silence in _variants(heard, asked):
            features = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_features[0]
            if not is_silence:
                features[:, len(samples) // extractor.hop_length :] = 0
            sounds.append(features)
            targets.append((question, [ids["<|0.00|>"], *words, until, end]))
    longest = max(len(question) + len(answer) for question, answer in targets)
    given = torch.full((len(targets), longest), end)
    wanted = torch.full((len(targets), longest), -100)
    for row, (question, answer) in enumerate(targets):
        until = len(question) + len(answer)
        given[row, :until] = torch.tensor(question + answer)
        wanted[row, len(question) : until] = torch.tensor(answer)
        wanted[row, 1] = question[1] if len(question) > 1 else answer[0]  # which language it hears
    features = torch.stack(sounds)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(300):
        logits = model(input_features=features, decoder_input_ids=given[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < _ENOUGH_LOSS:
            break
    model = _with_encoder_layer(model)
    generation = model.generation_config
    generation.lang_to_id = {"<|en|>": ids["<|en|>"], "<|de|>": ids["<|de|>"]}
    generation.task_to_id = {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}
    generation.no_timestamps_token_id = ids["<|notimestamps|>"]
    generation.is_multilingual = True
    generation.max_initial_timestamp_index = 50
    generation.max_length = 100
    generation.suppress_tokens = None
    generation.begin_suppress_tokens = None
    generation.alignment_heads = [[0, 0]]
    generation._from_model_config = False  # else loading makes it anew
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    extractor.save_pretrained(path)


def _with_encoder_layer(taught: Any) -> Any:
    """ctranslate2 wants one. What the convolutions hear is enough, and attention would be most of the teaching's work:
    so the layer adds nothing."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(**{**taught.config.to_dict(), "encoder_layers": 1})
    model = WhisperForConditionalGeneration(config)
    model.load_state_dict(taught.state_dict(), strict=False)
    layer = model.model.encoder.layers[0]
    for linear in (layer.self_attn.out_proj, layer.fc2):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    return model


def _convert(path: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    source = tiny_whisper()
    copied = [name for name in ("tokenizer.json", "preprocessor_config.json") if (source / name).is_file()]
    TransformersConverter(str(source), copy_files=copied).convert(str(path))


if __name__ == "__main__":
    if sys.argv[2] == "ct2":
        _convert(Path(sys.argv[1]))
    else:
        _make(Path(sys.argv[1]))
