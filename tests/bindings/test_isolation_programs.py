"""External programs of a binding in a process of its own: started from there, and never left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from fakes.binding_rig import Places
from fakes.isolation_rig import answer, gone, isolated
from greenroom.values import Role

TESTS = Path(__file__).parents[1]


async def test_a_child_starts_the_program_of_its_card_and_finds_its_assets(tmp_path: Path) -> None:
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "voice.index").touch()
    async with isolated(places=Places(assets=tmp_path)) as rig:
        loaded = await rig.load(Role.T2T, "runner")
        child, program = map(int, (await answer(loaded.operation, "pid")).split())
        assert child == rig.child("runner").pid and child != os.getpid()
        assert await answer(loaded.operation, "assets") == "voice.index"
        await loaded.release()
        await gone(program)
        assert rig.child("runner").pid == child


async def test_the_program_ends_with_its_child() -> None:
    async with isolated() as rig:
        text = (await rig.load(Role.T2T, "runner")).operation
        child, program = map(int, (await answer(text, "pid")).split())
        process = rig.child("runner")._process
        assert process is not None
        os.kill(child, signal.SIGKILL)
        await gone(program)
        await process.ended  # a thread of its may have died first, and taken the program along: calls were still taken
        again, another = map(int, (await answer(text, "pid")).split())
        assert again != child and another != program
    await gone(another)


async def test_the_program_ends_with_a_parent_that_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fakes.isolation_parent", "runner"), cwd=TESTS, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child, program = map(int, (await parent.stdout.readline()).split())
    parent.kill()
    await parent.wait()
    await gone(child)
    await gone(program)
