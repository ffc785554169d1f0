"""A model file opened by onnxruntime, for the bindings that run one."""

from pathlib import Path
from typing import Any, Final

from greenroom.errors import Unavailable

_QUIET: Final = 3
"""onnxruntime's level of errors; warnings about a model's graph concern nobody here"""
_PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_session(path: Path, device: str, threads: int, what: str, install: str) -> Any:
    """An ``onnxruntime.InferenceSession``. ``threads``: of one call; 0: as it finds best.

    :param what: what the file should be, in messages: ``model``
    :param install: the command that gets it anew
    :raises Unavailable: for a broken file, or a device that onnxruntime does not serve
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise Unavailable(f"onnxruntime has no {provider} here: for device {device} install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), sess_options=options, providers=[provider])
    except (
        failures.Fail, failures.InvalidArgument, failures.InvalidGraph, failures.InvalidProtobuf,
        failures.NoModel, failures.NoSuchFile, failures.NotImplemented, failures.RuntimeException,
    ) as error:  # fmt: skip
        raise Unavailable(f"{path} is no whole {what} ({error}); install it again with: {install}") from error
