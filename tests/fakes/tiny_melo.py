"""What the stand-in of MeloTTS reads: a voice of few, random weights with five speakers, a BERT, NLTK's data.

tiny_melo()     -> folder, as models/melo: EN/, google-bert/bert-base-uncased/, nltk_data/corpora/cmudict.zip
MELO_PACKAGE    folder for ``sys.path`` in which the stand-in lies
"""

import json
import shutil
import string
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

from fakes.made_once import made_once

MELO_PACKAGE = Path(__file__).parent / "melo_package"
SPEAKERS: Final = {"EN-US": 0, "EN-BR": 1, "EN_INDIA": 2, "EN-AU": 3, "EN-Default": 4}


def tiny_melo() -> Path:
    return made_once("fakes.tiny_melo", "voice")


def put_melo(models: Path) -> Path:
    """A copy in the folder ``models/melo``. -> that folder"""
    return Path(shutil.copytree(tiny_melo(), models / "melo"))


def _make_voice(folder: Path) -> None:
    import torch
    from transformers import VitsConfig, VitsModel

    model: dict[str, Any] = {
        "vocab_size": 29,
        "num_speakers": len(SPEAKERS),
        "speaker_embedding_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 64,
        "flow_size": 32,
        "spectrogram_bins": 33,
        "prior_encoder_num_flows": 2,
        "upsample_initial_channel": 32,
        "upsample_rates": [8, 8, 4],
        "upsample_kernel_sizes": [16, 16, 8],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
        "duration_predictor_filter_channels": 32,
        "depth_separable_num_layers": 2,
        "duration_predictor_num_flows": 2,
        "posterior_encoder_num_wavenet_layers": 2,
        "prior_encoder_num_wavenet_layers": 2,
        "wavenet_kernel_size": 3,
        "sampling_rate": 44_100,
    }
    folder.mkdir(parents=True)
    data = {"sampling_rate": 44_100, "add_blank": True, "n_speakers": len(SPEAKERS), "spk2id": SPEAKERS}
    (folder / "config.json").write_text(json.dumps({"data": data, "model": model}), encoding="utf-8")
    torch.manual_seed(0)
    weights = VitsModel(VitsConfig(**model)).state_dict()
    torch.save({"model": weights, "iteration": 0, "optimizer": None, "learning_rate": 0.0}, folder / "checkpoint.pth")


def _make_bert(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    unknown = "[UNK]"
    letters = [*string.ascii_lowercase, *string.digits, *".,!?'-"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + one for one in letters)]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk": "[UNK]", "pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokens = {f"{name}_token": token for name, token in names.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=512,
    )
    BertForMaskedLM(config).save_pretrained(folder)


def _make(path: Path) -> None:
    _make_voice(path / "EN")
    _make_bert(path / "google-bert" / "bert-base-uncased")
    corpora = path / "nltk_data" / "corpora"
    corpora.mkdir(parents=True)
    with zipfile.ZipFile(corpora / "cmudict.zip", "w") as packed:
        packed.writestr("cmudict/cmudict", "HELLO 1 HH AH0 L OW1\n")


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
