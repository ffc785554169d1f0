"""A voice as a user of jaison writes it: its packages are imported at the top, and it speaks as a filter says."""

# mypy: ignore-errors

import sys

from greenroom.bindings.jaison import TTSOperation, jaison_binding

if not sys.argv[0].endswith("start.py"):
    raise ImportError("no module named 'something_very_large'")


class ApartTTS(TTSOperation):
    def __init__(self):
        super().__init__("jaison_apart")
        self.tone = "flat"

    async def configure(self, config_d):
        if "tone" in config_d:
            self.tone = str(config_d["tone"])
        assert self.tone in ("flat", "high")

    async def _parse_chunk(self, chunk_in):
        return {**await super()._parse_chunk(chunk_in), "emotion": chunk_in.get("emotion", "neutral")}

    async def _generate(self, content=None, emotion=None, **kwargs):
        yield {"audio_bytes": f"{self.tone} {emotion} {content} ".encode("utf-16-le"), "sr": 24000, "sw": 2, "ch": 1}


BINDING = jaison_binding(ApartTTS)
