"""A callable as bytes for a child of ours: what the child cannot import goes along by value.

That is what ``__main__`` and functions define, and also modules that were loaded by path, as bindings and scripts are.
Never use this on anything that leaves this machine, or its counterpart on anything that came from elsewhere.
"""

import io
import json
import os
import pickle  # written only; the reader is the child that this process starts
import sys
import threading
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, Final, get_type_hints

import cloudpickle  # type: ignore[import-untyped]

from greenroom.rpc import kaia_names
from greenroom.rpc.declaration import endpoint_attributes
from greenroom.rpc.fork_outcome import TypeName

_BY_VALUE: Final = threading.Lock()
"""cloudpickle keeps one list for the whole process of the modules to pickle by value"""


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.sent: dict[TypeName, type] = {}
        self.by_value: list[ModuleType] = []
        self._by_name: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type):
            self.sent[obj.__module__, obj.__qualname__] = obj
        if isinstance(obj, type | FunctionType):
            self._send_by_value(obj.__module__)
        reduced = super().reducer_override(obj)
        if isinstance(reduced, tuple) and len(reduced) > 2 and isinstance(reduced[2], tuple):
            _complete(obj, *reduced[2])
        return reduced

    def _send_by_value(self, name: str | None) -> None:
        module = sys.modules.get(name) if name else None
        if name is None or name == "__main__" or name in self._by_name or module in self.by_value:
            return
        if not isinstance(module, ModuleType):  # not loaded, or a class in a module's place, as typing.io was
            return
        if _can_be_imported(module):
            self._by_name.add(name)
            return
        cloudpickle.register_pickle_by_value(module)
        self.by_value.append(module)


def _complete(obj: Any, state: dict[str, Any], slots: dict[str, Any]) -> None:
    """What cloudpickle loses of a class or function that goes by value: a class's qualified name, by which its objects
    come back; and what the texts in annotations mean, as the child has no module in which to look their names up."""
    if isinstance(obj, type) and not issubclass(obj, Enum):
        state["__qualname__"] = obj.__qualname__
        if is_dataclass(obj) and "__annotations__" in state:
            state["__annotations__"] = _resolved(obj, state["__annotations__"])
    elif isinstance(obj, FunctionType) and endpoint_attributes(obj) is not None:
        slots["__annotations__"] = _resolved(obj, slots["__annotations__"])


def _resolved(obj: Any, annotations: dict[str, Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(obj, include_extras=True)
    except (NameError, TypeError, AttributeError):  # whoever needs them says so
        return annotations
    return {name: hints.get(name, found) for name, found in annotations.items()}


def _can_be_imported(module: ModuleType) -> bool:
    """Whether a fresh interpreter with our import path finds this very file by the module's name: by that of its spec,
    as some of the interpreter's own modules (``_io``, ``_decimal``) say another one of themselves."""
    spec = module.__spec__
    found = _find(spec.name) if spec is not None else None
    if spec is None or found is None or found.origin != spec.origin:
        return False
    return found.origin is not None or set(module.__path__) <= set(found.submodule_search_locations or ())


def _find(name: str) -> ModuleSpec | None:
    """Look on the import path, although the module is loaded."""
    parent, _, _ = name.rpartition(".")
    path = None
    if parent:
        package = sys.modules.get(parent)
        if package is None or not hasattr(package, "__path__") or not _can_be_imported(package):
            return None
        path = package.__path__
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None


def make_payload(method: Callable[[], object]) -> tuple[bytes, dict[TypeName, type]]:
    """The bytes for :mod:`greenroom.rpc.fork_child`, and the types that are in them.

    :raises ValueError: if the callable, or something that it holds, cannot be pickled
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    with _BY_VALUE:
        try:
            pickler.dump(method)
        except (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError, OSError) as error:
            raise ValueError(f"Cannot pickle {method} to run in fork") from error
        finally:
            for module in pickler.by_value:
                cloudpickle.unregister_pickle_by_value(module)
    pickled = buffer.getvalue()
    path = [entry or os.getcwd() for entry in sys.path]
    views = [kaia_names.DOOR] if kaia_names.is_installed() else []
    header = json.dumps({"path": path, "argv": sys.argv, "install": views, "bytes": len(pickled)}).encode()
    return header + b"\n" + pickled, pickler.sent
