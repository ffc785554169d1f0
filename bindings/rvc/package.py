"""infer-rvc-python's modules, imported without what is of no use here.

It imports two packages for jobs that are not done here, or not always: ffmpeg-python to read files, torchcrepe for one
way to find the pitch; and pyworld asks pkg_resources, which setuptools no longer has, for its own version. Where they
are not installed, modules stand in for them while it is imported. It also changes the process that imports it, which
is undone: it hides all warnings, adds the working directory to the path of modules and prints its log to the standard
error stream.
"""

import importlib
import importlib.metadata
import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from typing import Any, Final

from greenroom.errors import Unavailable

_STOOD_IN_FOR: Final = ("ffmpeg", "torchcrepe", "pkg_resources")
_ROOT: Final = "infer_rvc_python"


@dataclass(frozen=True, slots=True)
class Package:
    main: Any
    """``load_hu_bert``"""
    pipe: Any
    """``VC``, ``change_rms``, the high-pass filter ``bh, ah``"""
    networks: Any
    rmvpe: Any


def load_package() -> Package:
    """:raises Unavailable: naming what is missing"""
    try:
        with _process_left_alone(), _stand_ins():
            package = Package(
                importlib.import_module(f"{_ROOT}.main"),
                importlib.import_module(f"{_ROOT}.root_pipe"),
                importlib.import_module(f"{_ROOT}.lib.infer_pack.models"),
                importlib.import_module(f"{_ROOT}.lib.rmvpe"),
            )
    except ImportError as error:
        raise Unavailable(
            f"rvc needs the package {error.name or _ROOT} ({error}); install with: greenroom install rvc"
        ) from error
    for handler in list(logging.getLogger(_ROOT).handlers):
        logging.getLogger(_ROOT).removeHandler(handler)
    logging.getLogger(_ROOT).propagate = True
    return package


def need_crepe(package: Package) -> None:
    """:raises Unavailable: without torchcrepe"""
    try:
        package.pipe.torchcrepe = importlib.import_module("torchcrepe")
    except (ImportError, OSError) as error:  # OSError: a torchaudio that was built for another torch
        raise Unavailable(
            f"f0_method crepe needs the packages torchcrepe and torchaudio in rvc's own environment ({error}); "
            "choose rmvpe, pm or harvest, which need none"
        ) from error


@contextmanager
def _stand_ins() -> Iterator[None]:
    made = {}
    for name in _STOOD_IN_FOR:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            made[name] = types.ModuleType(name, "Stands in for a package that is not installed.")
            made[name].__spec__ = ModuleSpec(name, None)  # without one, asking whether it is installed is an error
            made[name].__dict__["get_distribution"] = importlib.metadata.distribution
            sys.modules[name] = made[name]
    try:
        yield
    finally:
        for name, module in made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


@contextmanager
def _process_left_alone() -> Iterator[None]:
    path = list(sys.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own making: torch has new names for what it uses
            yield
    finally:
        sys.path[:] = path
