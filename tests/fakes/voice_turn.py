"""One whole turn through a real server whose voice, and ears, are the binding under test: eliza answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.promises import check_turn
from e2e.visitor import Told, end_of, visitor
from fakes.server_process import running_server


async def voice_turn(
    home: Path, voice: Mapping[str, Any], env: Mapping[str, str], *, ears: Mapping[str, Any] | None = None
) -> list[Told]:
    """What the client was told of one ``response``; with ``ears``, of a second's sound that was heard before it.

    ``voice`` and ``ears`` are the operations' entries in ``config.yaml`` but for their roles.
    """
    operations = [{"role": "t2t", "id": "eliza"}, {"role": "tts", **voice}]
    if ears is not None:
        operations.append({"role": "stt", **ears})
    home.mkdir(parents=True)
    config = {"operations": operations, "turn": {"audio_lead_ms": 0}}
    (home / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    async with running_server(home, env=env) as server, visitor(server.url, session="voices") as client:
        told: list[Told] = []
        if ears is not None:
            sound = b"\x00\x20\x00\xe0" * 8000
            told += await client.run("context_add", kind="audio", user="Ana", audio=sound, sr=16_000)
            assert end_of(told)["success"], end_of(told)
        turn = await client.run("response", text="Hello, I feel fine today.")
        check_turn(turn)
        assert any(each.name == "audio_chunk" for each in turn)
        return told + turn
