"""What pip and uv say while they work, as they really said it, and what is made of it."""

from itertools import pairwise

import pytest

from greenroom.bindings.installing.failure import explain
from greenroom.bindings.installing.progress import Phase, Progress, Tracker

PIP_26 = """
Looking in indexes: http://127.0.0.1:9177/simple
Collecting torch
  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl.metadata (31 kB)
Collecting numpy (from torch)
  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.9 MB)
Progress 0 of 16918164
Progress 262144 of 16918164
Progress 16918164 of 16918164
  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (812.5 MB)
Progress 0 of 812500000
Progress 406250000 of 812500000
Progress 812500000 of 812500000
Building wheels for collected packages: toy
  Building wheel for toy (pyproject.toml): started
  Building wheel for toy (pyproject.toml): finished with status 'done'
Installing collected packages: numpy, torch
Successfully installed numpy-2.4.6 torch-2.13.0
""".strip().splitlines()

UV = """
Using Python 3.11.7 environment at: e3
Resolved 9 packages in 3ms
Downloading numpy (16.1MiB)
Downloading pydantic-core (2.0MiB)
 Downloaded pydantic-core
 Downloaded numpy
Prepared 9 packages in 333ms
Installed 9 packages in 19ms
 + anyio==4.15.1
""".strip().splitlines()


class Watch:
    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[Progress] = []
        self.tracker = Tracker(self.told.append, clock=lambda: self.now)

    def hear(self, lines: list[str]) -> Progress:
        for line in lines:
            self.now += 1
            self.tracker.line(line)
        return self.tracker.progress

    @property
    def percents(self) -> list[float]:
        return [each.percent for each in self.told]


def test_a_pip_that_counts_bytes() -> None:
    watch = Watch()
    half = watch.hear(PIP_26[: PIP_26.index("Progress 406250000 of 812500000") + 1])
    assert (half.phase, half.message) == (Phase.DOWNLOADING, "downloading torch-2.13.0")
    assert (half.downloaded, half.total) == (16918164 + 406250000, 16918164 + 812500000)
    assert half.speed == pytest.approx((406250000 + 16918164 - 262144) / 5, rel=0.2)
    assert 40 < half.percent < 45
    end = watch.hear(PIP_26[PIP_26.index("Progress 406250000 of 812500000") + 1 :])
    assert end.downloaded == end.total
    assert [each.phase for each in watch.told if each.phase is Phase.BUILDING]
    assert end.phase is Phase.INSTALLING and end.percent == 97
    assert all(before <= after for before, after in pairwise(watch.percents))


def test_a_pip_that_does_not() -> None:
    watch = Watch()
    lines = [line for line in PIP_26 if not line.startswith("Progress")]
    at = next(index for index, line in enumerate(lines) if "(812.5 MB)" in line)
    watch.hear(lines[: at + 1])
    assert watch.tracker.downloading
    watch.tracker.bytes_on_disk(203_125_000)
    assert watch.tracker.progress.downloaded == 16_900_000 + 203_125_000
    assert watch.tracker.progress.percent == pytest.approx(3 + 77 * 220_025_000 / 829_400_000, abs=0.1)
    assert watch.hear(lines[at + 1 :]).downloaded == watch.tracker.total


def test_uv_fetches_several_at_once() -> None:
    watch = Watch()
    at = UV.index(" Downloaded pydantic-core") + 1
    there = watch.hear(UV[:at])
    assert there.total == round(16.1 * 2**20) + 2 * 2**20
    assert there.downloaded == 2 * 2**20
    end = watch.hear(UV[at:])
    assert end.downloaded == end.total and end.percent == 97
    assert all(before <= after for before, after in pairwise(watch.percents))


def test_packages_are_counted_while_they_are_installed() -> None:
    watch = Watch()
    watch.tracker.packages_there(1)
    assert watch.told == []
    watch.hear(["Installing collected packages: a, b, c, d"])
    watch.tracker.packages_there(2)
    assert (watch.told[-1].message, watch.told[-1].percent) == ("installing: 2 of 4 packages", 91.0)
    watch.tracker.packages_there(9)
    assert watch.told[-1].percent == 91.0


def test_the_phases_around_it() -> None:
    watch = Watch()
    watch.tracker.begin()
    watch.tracker.checking()
    watch.tracker.done("there it is")
    assert [(each.phase, each.percent) for each in watch.told] == [
        (Phase.PREPARING, 0.0),
        (Phase.CHECKING, 97.0),
        (Phase.DONE, 100.0),
    ]


BUILD_FAILED = """
Processing ./bad
  Preparing metadata (pyproject.toml): started
  Preparing metadata (pyproject.toml): finished with status 'error'
  error: subprocess-exited-with-error
  × Preparing metadata (pyproject.toml) did not run successfully.
  │ exit code: 1
  ╰─> [12 lines of output]
      Traceback (most recent call last):
        File "/x/_in_process.py", line 353, in <module>
          main()
      RuntimeError: no compiler
      [end of output]
  note: This error originates from a subprocess, and is likely not a problem with pip.
error: metadata-generation-failed
× Encountered error while generating package metadata.
╰─> See above for output.
hint: See above for details.
"""
CONFLICT = """
ERROR: Cannot install a==1.0 and b==1.0 because these package versions have conflicting dependencies.
The conflict is caused by:
    a 1.0 depends on toy==1.0
    b 1.0 depends on toy==2.0
To fix this you could try to:
1. loosen the range of package versions you've specified
2. remove package versions to allow pip to attempt to solve the dependency conflict
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/
"""
UNREACHABLE = """
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError(...)': /simple/toy/
ERROR: Could not find a version that satisfies the requirement toy (from versions: none)
ERROR: No matching distribution found for toy
"""


@pytest.mark.parametrize(
    ("output", "shown", "mend", "again"),
    [
        (BUILD_FAILED, ["RuntimeError: no compiler"], "compiler or system libraries", False),
        (CONFLICT, ["a 1.0 depends on toy==1.0", "b 1.0 depends on toy==2.0"], "loosen one of them", False),
        (UNREACHABLE, ["No matching distribution found for toy"], "cannot be reached", True),
        (
            "ERROR: Could not find a version that satisfies the requirement nosuch (from versions: none)",
            ["the requirement nosuch (from versions: none)"],
            "spelling",
            False,
        ),
        (
            "error: No solution found when resolving dependencies\n  cause: Because you require idna<3 and idna>3, "
            "we can conclude that your requirements are unsatisfiable.",
            ["Because you require idna<3 and idna>3"],
            "loosen one of them",
            False,
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            ["No space left on device"],
            "make some and try again",
            False,
        ),
        ("ERROR: Invalid requirement: 'toy=1': Expected end", ["'toy=1'"], "correct it", False),
        ("", ["without a word"], "whole output", False),
    ],
    ids=["build", "conflict", "unreachable", "unknown", "uv", "disk", "spelling", "silent"],
)
def test_a_failure_as_a_sentence(output: str, shown: list[str], mend: str, again: bool) -> None:
    sentence, retryable = explain(output.splitlines())
    assert all(part in sentence for part in shown), sentence
    assert mend in sentence.partition("What to do: ")[2]
    assert retryable is again
    assert "Traceback" not in sentence and "hint:" not in sentence and "\n" not in sentence
    assert len(sentence) < 900
