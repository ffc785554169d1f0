"""Entries of ``operations`` as jaison's files write them, under our names.

Its newer files, its guide and its older files do not agree, and users have them all: the role is under ``role`` or
``type``, a setting under its own name or behind its binding's (``openai_t2t_model``, ``azure_ttsg_voice``).
"""

from collections.abc import Mapping
from typing import Any

from greenroom.config.translation import Mapped, Way

_PREFIXES = {
    ("stt", "azure"): "azure_stt_",
    ("stt", "kobold"): "kobold_stt_",
    ("stt", "openai"): "openai_stt_",
    ("t2t", "kobold"): "kobold_t2t_",
    ("t2t", "openai"): "openai_t2t_",
    ("tts", "azure"): "azure_ttsg_",
    ("tts", "fish"): "fish_",
    ("tts", "kobold"): "kobold_tts_",
    ("tts", "openai"): "openai_ttsg_",
    ("tts", "pytts"): "synth_ttsg_",
    ("filter_audio", "rvc"): "rvc_",
}
_RENAMED = {("fish", "model_backend"): "backend", ("pytts", "voice_name"): "voice"}
_MEANINGLESS = {"spacy_model": "sentences are split without a language model"}
_OURS = ("chunker_sentence", None)
"""an operation of a user's own may well read it"""


def has_its_form(operations: Any) -> bool:
    """Whether an entry names its role ``type``, as none of ours does."""
    if not isinstance(operations, list):
        return False
    return any(isinstance(entry, Mapping) and "type" in entry and "role" not in entry for entry in operations)


def translated(mapped: Mapped, value: Any) -> Any:
    """There, a later entry of a single role replaces the earlier; here, two are a mistake: the later one is kept."""
    if not isinstance(value, list):
        return [] if value is None else value
    roles = [_role(entry) for entry in value]
    last = {role: index for index, role in enumerate(roles) if role and not role.startswith("filter_")}
    kept: list[Any] = []
    for index, (entry, role) in enumerate(zip(value, roles, strict=True)):
        if last.get(role, index) != index:
            mapped.ignore(("operations", index), f"a later entry also has role {role}")
            continue
        here: Way = ("operations", len(kept))
        mapped.ways[here] = ("operations", index)
        kept.append(_entry(mapped, entry, role, here) if isinstance(entry, Mapping) else entry)
    return kept


def _role(entry: Any) -> str:
    given = entry.get("role", entry.get("type")) if isinstance(entry, Mapping) else None
    return given if isinstance(given, str) else ""


def _entry(mapped: Mapped, entry: Mapping[Any, Any], role: str, here: Way) -> dict[Any, Any]:
    written = mapped.ways[here]
    ours: dict[Any, Any] = {}
    for name, value in entry.items():
        if name in _MEANINGLESS and entry.get("id") in _OURS:
            mapped.ignore((*written, name), _MEANINGLESS[name])
            continue
        if name == "type" and "role" in entry:
            mapped.ignore((*written, name), "its role says what it does")
            continue
        own = "role" if name == "type" else _setting(str(name), role, entry.get("id"))
        if own != name:
            mapped.ways[(*here, own)] = (*written, name)
        ours[own] = value
    return ours


def _setting(name: str, role: str, binding: Any) -> str:
    prefix = _PREFIXES.get(("t2t" if role == "mcp" else role, str(binding)), "")
    if not prefix or not name.startswith(prefix):
        return name
    short = name.removeprefix(prefix)
    return _RENAMED.get((str(binding), short), short)
