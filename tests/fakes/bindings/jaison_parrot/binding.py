"""Operations as a user of jaison-core writes them. Only the import lines differ from what runs there: they named
``.base``, ``..base``, ``utils.processes`` and ``utils.config``, and the last line stood in the operation manager."""

# mypy: ignore-errors
# ruff: noqa: ASYNC210, ASYNC251, RUF013, S310

import array
import base64
import json
import socket
import subprocess
import sys
import time
import urllib.request
import wave
from pathlib import Path

from greenroom.bindings.jaison import (
    BaseProcess,
    ChatMessage,
    EmbeddingOperation,
    FilterAudioOperation,
    FilterTextOperation,
    ProcessManager,
    ProcessType,
    Prompter,
    STTOperation,
    T2TOperation,
    TTSOperation,
    config,
    jaison_binding,
)

SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        text = json.loads(self.rfile.read(int(self.headers["content-length"])))["text"]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.upper().encode())
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class ShoutProcess(BaseProcess):
    def __init__(self):
        super().__init__("shout")
        self.reload_signal = True

    async def reload(self):
        if self.process is not None:
            await self.unload()
        await super().reload()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        sock.close()
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.port)])


class ParrotT2T(T2TOperation):
    """Says back what it was told, shouting, by the program that it needs."""

    def __init__(self):
        super().__init__("jaison_parrot")
        self.suffix = "!"
        self.uri = None

    async def start(self):
        await super().start()
        await ProcessManager().link("parrot_t2t", ProcessType.SHOUT)
        self.uri = f"http://127.0.0.1:{ProcessManager().get_process(ProcessType.SHOUT).port}"

    async def close(self):
        await super().close()
        await ProcessManager().unlink("parrot_t2t", ProcessType.SHOUT)

    async def configure(self, config_d):
        if "suffix" in config_d:
            self.suffix = str(config_d["suffix"])
        assert len(self.suffix) < 5

    async def get_configuration(self):
        return {"suffix": self.suffix}

    async def _generate(self, instruction_prompt: str = None, messages: list = None, **kwargs):
        lines = []
        for message in messages:
            if isinstance(message, ChatMessage) and message.user == Prompter().character_name:
                lines.append("me")
            else:
                lines.append(message.to_line())
        request = urllib.request.Request(self.uri, json.dumps({"text": lines[-1] + self.suffix}).encode())
        with urllib.request.urlopen(request) as response:
            text = response.read().decode()
        for word in text.split(" "):
            yield {"content": word + " "}


class ParrotSTT(STTOperation):
    def __init__(self):
        super().__init__("jaison_parrot")

    async def configure(self, config_d):
        return

    async def get_configuration(self):
        return {}

    async def _generate(self, prompt=None, audio_bytes=None, sr=None, sw=None, ch=None, **kwargs):
        Path(config.stt_working_src).parent.mkdir(parents=True, exist_ok=True)
        with wave.open(config.stt_working_src, "w") as file:
            file.setframerate(sr)
            file.setsampwidth(sw)
            file.setnchannels(ch)
            file.writeframes(audio_bytes)
        with wave.open(config.stt_working_src) as file:
            yield {"transcription": f"{file.getnframes()} frames"}


class ParrotTTS(TTSOperation):
    def __init__(self):
        super().__init__("jaison_parrot")
        self.voice = "plain"

    async def configure(self, config_d):
        self.voice = str(config_d.get("voice", self.voice))
        assert self.voice in ("plain", "slow", "broken")

    async def get_configuration(self):
        return {"voice": self.voice}

    async def _generate(self, content=None, **kwargs):
        if self.voice == "broken":
            raise RuntimeError("the beak is shut")
        for letter in content:
            if self.voice == "slow":
                time.sleep(0.02)
            yield {"audio_bytes": array.array("h", [ord(letter)] * 240).tobytes(), "sr": 24000, "sw": 2, "ch": 1}


class ParrotMood(FilterTextOperation):
    def __init__(self):
        super().__init__("jaison_parrot")

    async def configure(self, config_d):
        return

    async def _generate(self, content=None, **kwargs):
        yield {"emotion": "joy" if "!" in content else "neutral"}


class ParrotVolume(FilterAudioOperation):
    def __init__(self):
        super().__init__("jaison_parrot")

    async def configure(self, config_d):
        return

    async def _generate(self, audio_bytes=None, sr=None, sw=None, ch=None, **kwargs):
        samples = array.array("h", audio_bytes)
        yield {"audio_bytes": array.array("h", [s // 2 for s in samples]).tobytes(), "sr": sr, "sw": sw, "ch": ch}


class ParrotEmbedding(EmbeddingOperation):
    def __init__(self):
        super().__init__("jaison_parrot")

    async def configure(self, config_d):
        return

    async def _generate(self, content=None, **kwargs):
        yield {"embedding": base64.b64encode(array.array("f", [len(content), 1.0]).tobytes()).decode()}


BINDING = jaison_binding(
    ParrotT2T,
    ParrotSTT,
    ParrotTTS,
    ParrotMood,
    ParrotVolume,
    ParrotEmbedding,
    processes={"shout": ShoutProcess},
    open_to_all=["voice"],
)
