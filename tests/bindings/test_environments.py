"""Real virtual environments, filled by the real pip (and uv, where it is there) from a folder of tiny packages."""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from fakes.toy_packages import make_binding, make_source, make_wheel, offline, toy_door
from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.environments import SMALLEST_ROOM, Environments, State
from greenroom.bindings.installing.installer import Kind
from greenroom.bindings.installing.manifest import MANIFEST_FILE
from greenroom.bindings.installing.progress import Phase, Progress
from greenroom.errors import BindingFailed, Conflict, Unavailable
from greenroom.paths import find_home

PATIENCE_S = 120
INSTALLERS = [Kind.PIP, *([Kind.UV] if shutil.which("uv", path=str(Path(sys.executable).parent)) else [])]


class Rig:
    """A home, a folder of packages, and what installs from one into the other."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.wheels = folder / "wheels"
        self.variables: dict[str, str] = {}
        self.home.mkdir()
        (self.home / "config.yaml").write_text("operations: []\n", encoding="utf-8")
        make_wheel(self.wheels, "toy", "1.0")
        make_wheel(self.wheels, "toy", "2.0")

    def environments(self, installer: Kind | None = None, free: int | None = None) -> Environments:
        environ = offline(self.wheels, **self.variables)
        home = find_home(self.home, env={})
        if free is None:
            return Environments(home, environ=environ, installer=installer)
        return Environments(home, environ=environ, installer=installer, free_bytes=lambda folder: free)

    def binding(self, name: str) -> FoundBinding:
        return BindingShelf((self.home / "bindings",)).get(name)

    def asking_for(self, requirements: str, name: str = "plain", **more: object) -> FoundBinding:
        make_binding(self.home, name, requirements, **more)  # type: ignore[arg-type]
        return self.binding(name)

    def folders(self) -> list[Path]:
        root = self.home / "environments"
        return [path for path in root.iterdir() if path.is_dir() and path.name != "wheels"] if root.is_dir() else []


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def version_in(python: Path | None, module: str = "toy") -> str:
    assert python is not None
    code = f"import {module}, greenroom.bindings.roles; print({module}.VERSION, greenroom.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    version, greenroom_version = done.stdout.split()
    assert greenroom_version
    return version


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_contradicting_requirements_live_side_by_side(rig: Rig, installer: Kind) -> None:
    environments = rig.environments(installer)
    old = rig.asking_for("toy==1.0  # the old one\n", "old", imports=("toy",))
    new = rig.asking_for("toy>=2", "new", imports=("toy",), in_card=True)
    assert environments.python_for(old) is None
    assert environments.status(old).state is State.MISSING
    assert rig.folders() == [], "looking installs nothing"

    told: list[Progress] = []
    manifest = await environments.install(old, told.append)
    assert manifest is not None and manifest.packages["toy"] == "1.0"
    assert told[0].percent == 0 and told[-1].percent == 100 and told[-1].phase is Phase.DONE
    assert all(before.percent <= after.percent for before, after in itertools.pairwise(told))
    assert {Phase.PREPARING, Phase.INSTALLING, Phase.CHECKING} <= {each.phase for each in told}

    await environments.install(new)
    assert version_in(environments.python_for(old)) == "1.0"
    assert version_in(environments.python_for(new)) == "2.0"
    assert await environments.check(old) == []
    assert "packages" in environments.status(new).sentence


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_a_package_whose_own_requirements_are_not_to_be_had(rig: Rig, installer: Kind) -> None:
    """It stands alone; what it really needs is named beside it. Other gaps are told still."""
    make_wheel(rig.wheels, "gappy_toy", "1.0", requires=("ghost>=3",))
    environments = rig.environments(installer)
    found = rig.asking_for("toy==2.0\n", imports=("toy", "gappy_toy"), alone=("gappy-toy == 1.0",))
    manifest = await environments.install(found)
    assert manifest is not None and manifest.packages["toy"] == "2.0"
    assert version_in(environments.python_for(found), "gappy_toy") == "1.0"
    assert await environments.check(found) == []
    assert environments.status(rig.asking_for("toy==2.0\n", imports=("toy",))).state is State.OUTDATED


async def test_a_finished_environment_is_left_alone_upgraded_beside_and_outdated_by_new_requirements(rig: Rig) -> None:
    environments = rig.environments()
    found = rig.asking_for("toy<3")
    await environments.install(found)
    first = environments.python_for(found)
    assert version_in(first) == "2.0"
    make_wheel(rig.wheels, "toy", "2.5")

    told: list[Progress] = []
    await environments.install(found, told.append)
    assert told[-1].percent == 100
    assert environments.python_for(found) == first and version_in(first) == "2.0"

    with environments.using(found) as used:
        assert used == first
        await environments.install(found, upgrade=True)
        assert version_in(used) == "2.0", "what is in use stays as it was"
        assert version_in(environments.python_for(found)) == "2.5"

    found = rig.asking_for("toy<2")
    assert environments.status(found).state is State.OUTDATED
    assert environments.python_for(found) is None
    await environments.install(found)
    assert version_in(environments.python_for(found)) == "1.0"
    assert len(rig.folders()) == 1, "those that nobody uses are gone"


async def test_check_sees_what_was_changed_behind_its_back(rig: Rig) -> None:
    environments = rig.environments()
    make_wheel(rig.wheels, "needy", "1.0", requires=("toy>=2",))
    found = rig.asking_for("needy")
    assert "greenroom install plain" in (await environments.check(found))[0]
    await environments.install(found)
    assert await environments.check(found) == []
    python = environments.python_for(found)
    assert python is not None
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "toy==1.0"],
        env=offline(rig.wheels),
        check=True,
        capture_output=True,
    )
    wrong = await environments.check(found)
    assert any("1.0 is there, 2.0 was installed" in sentence for sentence in wrong)
    assert any("needy" in sentence and "toy" in sentence for sentence in wrong), "what pip itself finds"

    python.unlink()
    assert environments.status(found).state is State.DAMAGED
    assert environments.python_for(found) is None
    await environments.install(found)
    assert environments.status(found).state is State.READY


async def test_uninstalling(rig: Rig) -> None:
    environments = rig.environments()
    found = rig.asking_for("toy")
    assert await environments.uninstall("plain") is False
    await environments.install(found)
    with environments.using(found) as python:
        assert python is not None
        with pytest.raises(Conflict, match=f"in use by process {os.getpid()}"):
            await environments.uninstall("plain")
        assert environments.python_for(found) == python, "a refusal changes nothing"
    assert await environments.uninstall("plain") is True
    assert environments.python_for(found) is None
    assert rig.folders() == []
    with environments.using(found) as python:
        assert python is None


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_a_requirement_that_cannot_be_had(rig: Rig, installer: Kind) -> None:
    found = rig.asking_for("toy==9.9\n")
    with pytest.raises(BindingFailed) as refused:
        await rig.environments(installer).install(found)
    message = refused.value.message
    assert message.startswith("plain could not be installed: ") and "toy" in message and "9.9" in message
    assert "What to do:" in message
    assert "Traceback" not in message and "Looking in" not in message
    assert (rig.home / "environments" / "plain.log").stat().st_size > 0
    assert rig.folders() == []


async def test_requirements_that_contradict_what_greenroom_needs(rig: Rig) -> None:
    found = rig.asking_for("pydantic<2\n")
    make_wheel(rig.wheels, "pydantic", "1.10")
    with pytest.raises(BindingFailed, match="do not fit together"):
        await rig.environments().install(found)


async def test_a_package_that_does_not_build(rig: Rig) -> None:
    make_source(rig.wheels, "def build_wheel(*_, **__):\n    raise RuntimeError('no compiler here')\n", "crooked")
    with pytest.raises(BindingFailed, match=r"no compiler here.*had to be built") as refused:
        await rig.environments().install(rig.asking_for("crooked"))
    assert refused.value.retryable is False


async def test_requirements_that_do_not_bring_what_the_binding_imports(rig: Rig) -> None:
    found = rig.asking_for("toy", imports=("toy", "left_out"))
    with pytest.raises(BindingFailed, match=r"imports left_out.*add it to the binding's requirements"):
        await rig.environments().install(found)
    assert rig.environments().python_for(found) is None


async def test_hashed_requirements(rig: Rig) -> None:
    wheel = make_wheel(rig.wheels, "toy", "1.0")
    done = subprocess.run([sys.executable, "-m", "pip", "hash", wheel], capture_output=True, text=True, check=True)
    found = rig.asking_for(f"toy==1.0 {done.stdout.split()[-1]}\n")
    environments = rig.environments()
    await environments.install(found)
    assert version_in(environments.python_for(found)) == "1.0"


async def test_the_users_constraints_hold(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("toy<2\n")
    rig.variables["PIP_CONSTRAINT"] = str(tmp_path / "constraints.txt")
    environments, found = rig.environments(), rig.asking_for("toy")
    await environments.install(found)
    assert version_in(environments.python_for(found)) == "1.0"


async def test_nothing_to_install(rig: Rig) -> None:
    found = rig.asking_for("# nothing yet\n\n")
    told: list[Progress] = []
    assert await rig.environments().install(found, told.append) is None
    assert told[-1].percent == 100
    assert rig.environments().status(found).state is State.NOT_NEEDED
    assert rig.folders() == []


async def test_no_room(rig: Rig) -> None:
    found = rig.asking_for("toy")
    with pytest.raises(Unavailable, match=r"200\.0 MB.*1\.0 kB are free; make room"):
        await rig.environments(free=1000).install(found)


async def test_no_room_for_what_turns_out_to_be_large(rig: Rig) -> None:
    """The sizes show only while it runs; here through an index that pip asks over HTTP."""
    make_wheel(rig.wheels / "large", "large", "1.0", size=SMALLEST_ROOM // 2)
    page = '<a href="large-1.0-py3-none-any.whl">large</a>'
    (rig.wheels / "large" / "index.html").write_text(page)
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(rig.wheels)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as index:
        try:
            assert index.stdout is not None
            port = index.stdout.readline().split(" port ")[1].split()[0]
            (rig.wheels / "constraints.txt").write_text("")
            rig.variables |= {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": f"http://127.0.0.1:{port}", "PIP_RETRIES": "0"}
            found = rig.asking_for("large")
            told: list[Progress] = []
            with pytest.raises(Unavailable, match="make room"):
                await rig.environments(Kind.PIP, free=SMALLEST_ROOM).install(found, told.append)
            assert told[-1].total >= SMALLEST_ROOM // 2
            assert rig.folders() == []
        finally:
            index.terminate()


async def test_one_installation_of_a_binding_at_a_time(rig: Rig) -> None:
    make_source(rig.wheels)
    found = rig.asking_for("slow-toy")
    async with toy_door() as door, asyncio.timeout(PATIENCE_S):
        rig.variables |= door.variables()
        first = asyncio.create_task(rig.environments().install(found))
        await door.knocked.wait()
        with pytest.raises(Conflict, match=f"process {os.getpid()}; wait"):
            await rig.environments().install(found)
        with pytest.raises(Conflict):
            await rig.environments().uninstall("plain")
        door.open.set()
        await first
    assert version_in(rig.environments().python_for(found), "slow_toy") == "1.0"


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_an_interrupted_installation_leaves_nothing_behind_and_is_taken_up_again(
    rig: Rig, installer: Kind
) -> None:
    make_source(rig.wheels)
    found = rig.asking_for("slow-toy\ntoy==1.0")
    async with toy_door() as door, asyncio.timeout(PATIENCE_S):
        rig.variables |= door.variables()
        installing = asyncio.create_task(rig.environments(installer).install(found))
        await door.knocked.wait()
        installing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await installing
        await door.left.wait()
        assert rig.environments().python_for(found) is None
        assert not [folder for folder in rig.folders() if not folder.name.startswith(".removed-")]
        door.open.set()
        await rig.environments(installer).install(found)
    assert version_in(rig.environments().python_for(found), "slow_toy") == "1.0"
    assert version_in(rig.environments().python_for(found)) == "1.0"


async def test_a_killed_installer_leaves_no_process_and_no_environment(rig: Rig) -> None:
    make_source(rig.wheels)
    found = rig.asking_for("slow-toy")
    async with toy_door() as door, asyncio.timeout(PATIENCE_S):
        rig.variables |= door.variables()
        killed = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "greenroom", "install", "plain", "--home", str(rig.home)),
            env=offline(rig.wheels, **door.variables()),
            stdout=subprocess.DEVNULL,
        )
        await door.knocked.wait()
        killed.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        await killed.wait()
        await door.left.wait()
        (half,) = rig.folders()
        assert not (half / MANIFEST_FILE).exists()
        assert rig.environments().status(found).state is State.MISSING
        door.open.set()
        await rig.environments().install(found)
    assert version_in(rig.environments().python_for(found), "slow_toy") == "1.0"
    assert len(rig.folders()) == 1


async def test_greenroom_in_an_environment_is_the_servers(rig: Rig, tmp_path: Path) -> None:
    """Also where it was built by another one."""
    environments = rig.environments()
    found = rig.asking_for("toy")
    await environments.install(found)
    python = environments.python_for(found)
    assert python is not None
    other = tmp_path / "other" / "greenroom"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("__version__ = '99'\n")
    (other / "values.py").write_text("HERE = __file__\n")
    code = "import greenroom.values; print(greenroom.__version__, greenroom.__file__, greenroom.values.__file__)"
    run = namedtuple("run", "version file values")

    def seen(variables: dict[str, str]) -> run:
        done = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True, check=True)
        return run(*done.stdout.split())

    ours = seen({**os.environ, **environments.variables()})
    assert Path(ours.file) == Path(sys.modules["greenroom"].__file__ or "")
    theirs = seen({**os.environ, "GREENROOM_PACKAGE": str(other)})
    assert theirs == run("99", str(other / "__init__.py"), str(other / "values.py"))
