"""Two bindings that cannot live in one Python: each in its own environment and process, together in one turn."""

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.promises import check_turn
from e2e.visitor import end_of, pcm_of, text_of, visitor
from fakes.server_process import running_server
from fakes.toy_packages import make_wheel, offline

CLASHING = Path(__file__).parents[1] / "fakes" / "clashing"
OWNER = "the owner's"
CONFIG = """
operations: [{role: t2t, id: chatty}, {role: tts, id: singer}]
turn: {audio_lead_ms: 0}
"""


def make_home(folder: Path) -> Path:
    shutil.copytree(CLASHING, folder / "bindings", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


async def greenroom(*arguments: str, home: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """-> exit code and all that the command said"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom", *arguments, "--home", str(home)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={name: value for name, value in env.items() if not name.startswith("GREENROOM_")},
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


async def listed(home: Path, env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    code, told = await greenroom("list", "bindings", "--json", home=home, env=env)
    assert code == 0, told
    return {row["name"]: row for row in json.loads(told)}


async def test_bindings_whose_requirements_contradict_each_other_serve_one_turn(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "toyvoice", "1.0")
    make_wheel(wheels, "toyvoice", "2.0")
    home = make_home(tmp_path / "home")
    env = offline(wheels, GREENROOM_TOKEN=OWNER)

    before = await listed(home, env)
    assert [before[name]["status"] for name in ("chatty", "singer")] == ["missing_packages"] * 2
    mend = "chatty needs toyvoice; install with: greenroom install chatty"
    assert before["chatty"]["description"] == mend
    code, told = await greenroom("install", "chatty", home=home, env=env)
    assert code == 0, told

    async with running_server(home, env=env) as server, visitor(server.url, token=OWNER) as ana:
        dumb = end_of(await ana.run("response", text="Hello?"))
        assert dumb["error"]["reason"] == "singer needs toyvoice; install with: greenroom install singer"
        answer = await ana.ask("install_binding", {"name": "singer"})
        assert answer["success"], answer

        for _ in range(2):
            told_events = await ana.run("response", text="Hello?")
            check_turn(told_events)
            assert end_of(told_events)["success"], end_of(told_events)
            assert text_of(told_events) == "I am toyvoice 1.0."
            pcm = pcm_of(told_events)
            assert set(pcm) == {0, 2} and len(pcm) >= 2 * len("I am toyvoice 1.0.")

        after = await listed(home, env)
        assert [after[name]["status"] for name in ("chatty", "singer")] == ["ready"] * 2
        for name in ("chatty", "singer"):
            refused = await ana.ask("uninstall_binding", {"name": name})
            assert refused["code"] == "conflict"
            assert f"the environment of {name} is in use by process" in refused["error"]
            assert "stop what uses it and try again" in refused["error"]
        code, told = await greenroom("uninstall", "singer", home=home, env=env)
        assert code != 0 and "in use by process" in told

    for name in ("chatty", "singer"):
        code, told = await greenroom("uninstall", name, home=home, env=env)
        assert (code, told.strip()) == (0, f"{name}: its environment is removed")
