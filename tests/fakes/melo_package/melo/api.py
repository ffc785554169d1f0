"""Stands in for MeloTTS at 2091453: the same interface, around a tiny VITS of transformers."""

from typing import Any

import cached_path  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
import numpy as np
import torch
import torchaudio  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
from torch import nn
from transformers import VitsConfig, VitsModel

from . import utils
from .split_utils import split_sentence
from .text import english

SYMBOLS = "_ abcdefghijklmnopqrstuvwxyz'"


class TTS(nn.Module):  # type: ignore[misc]
    def __init__(
        self,
        language: str,
        device: str = "auto",
        use_hf: bool = True,
        config_path: str | None = None,
        ckpt_path: str | None = None,
    ) -> None:
        super().__init__()
        assert config_path is not None and ckpt_path is not None, "a test has no network"
        hps = utils.get_hparams_from_file(config_path)
        self.model = VitsModel(VitsConfig(**dict(hps.model.items()))).to(device)
        self.model.eval()
        self.symbol_to_id = {symbol: number for number, symbol in enumerate(SYMBOLS)}
        self.hps = hps
        self.device = device
        checkpoint_dict = torch.load(ckpt_path, map_location=device)
        self.model.load_state_dict(checkpoint_dict["model"], strict=True)
        language = language.split("_")[0]
        self.language = "ZH_MIX_EN" if language == "ZH" else language
        self.spoken: list[tuple[str, int, float]] = []

    @staticmethod
    def audio_numpy_concat(segment_data_list: list[Any], sr: int, speed: float = 1.0) -> Any:
        audio_segments: list[float] = []
        for segment_data in segment_data_list:
            audio_segments += segment_data.reshape(-1).tolist()
            audio_segments += [0] * int((sr * 0.05) / speed)
        return np.array(audio_segments).astype(np.float32)

    @staticmethod
    def split_sentences_into_pieces(text: str, language: str, quiet: bool = False) -> list[str]:
        texts = split_sentence(text, language_str=language)
        if not quiet:
            print("\n".join(texts))
        return texts

    def tts_to_file(
        self,
        text: str,
        speaker_id: int,
        output_path: str | None = None,
        sdp_ratio: float = 0.2,
        noise_scale: float = 0.6,
        noise_scale_w: float = 0.8,
        speed: float = 1.0,
        pbar: Any = None,
        format: str | None = None,
        position: int | None = None,
        quiet: bool = False,
    ) -> Any:
        language = self.language
        texts = self.split_sentences_into_pieces(text, language, quiet)
        audio_list = []
        for t in texts:
            english.get_bert(t, language, self.device)
            ids = [self.symbol_to_id[letter] for letter in t.lower() if letter in self.symbol_to_id] or [0]
            self.spoken.append((t, speaker_id, sdp_ratio))
            self.model.speaking_rate = speed
            self.model.noise_scale = noise_scale
            self.model.noise_scale_duration = noise_scale_w
            with torch.no_grad():
                made = self.model(torch.LongTensor([ids]).to(self.device), speaker_id=speaker_id)
            audio_list.append(made.waveform[0].cpu().float().numpy())
        audio = self.audio_numpy_concat(audio_list, sr=self.hps.data.sampling_rate, speed=speed)
        assert output_path is None, "a test writes no sound"
        return audio
