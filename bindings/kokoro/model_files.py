"""Which files there are in ``models/kokoro``: models (``*.onnx``) and voices (``voices*.bin``), looked up by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from greenroom.errors import BadRequest, NotFound, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT: Final = "kokoro-v1.0"
_STYLE_WIDTH: Final = 256


def find_models(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.onnx"), key=_by_name) if folder.is_dir() else []


def find_voice_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("voices*.bin"), key=_by_name) if folder.is_dir() else []


def _by_name(path: Path) -> str:
    return path.stem


def choose_model(folder: Path, name: str) -> Path:
    """:raises Unavailable, NotFound, BadRequest: for none at all, an unknown name, none named of several"""
    return _chosen(find_models(folder), name, DEFAULT, folder, "model", ".onnx")


def choose_voice_file(folder: Path, name: str) -> Path:
    """As :func:`choose_model`."""
    return _chosen(find_voice_files(folder), name, "voices-v1.0", folder, "voices_file", ".bin")


def install_command(name: str = DEFAULT) -> str:
    return f"greenroom install model kokoro {name}"


def _chosen(paths: Sequence[Path], name: str, default: str, folder: Path, option: str, suffix: str) -> Path:
    what = "file of voices" if option == "voices_file" else "model"
    if not paths:
        command = install_command(name or DEFAULT) if option == "model" else install_command()
        raise Unavailable(f"there is no {what} in {folder}; install it with: {command}")
    known = ", ".join(path.name.removesuffix(suffix) for path in paths)
    wanted = name.removesuffix(suffix)
    if wanted:
        matching = [path for path in paths if path.name == wanted + suffix]
        if not matching:
            hint = f"; install it with: {install_command(wanted)}" if option == "model" else ""
            raise NotFound(f"there is no {what} {name!r} in {folder}; there are: {known}{hint}")
        return matching[0]
    preferred = [path for path in paths if path.name == default + suffix] or list(paths)
    if len(preferred) > 1:
        raise BadRequest(f"which {what}? Set the option {option} to one of: {known}", details={"field": option})
    return preferred[0]


def read_voices(path: Path) -> dict[str, "NDArray[np.float32]"]:
    """Styles ``[numbers of tokens, 1, 256]`` by voice. :raises Unavailable: if the file is cut or something else"""
    import zipfile

    import numpy as np

    try:
        with path.open("rb") as file, np.load(file) as archive:
            voices = {name: np.asarray(archive[name], np.float32) for name in archive.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise Unavailable(
            f"{path} is no whole file of voices ({error}); install it again with: {install_command()}"
        ) from error
    whole = {name: style for name, style in voices.items() if style.ndim == 3 and style.shape[2] == _STYLE_WIDTH}
    if not whole:
        raise Unavailable(f"{path} holds no voices; install it again with: {install_command()}")
    return whole
