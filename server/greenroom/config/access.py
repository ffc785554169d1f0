"""Who may change and see what of the configuration over the wire."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from greenroom.config.confidential import has_password
from greenroom.config.foreign import as_ours, format_of
from greenroom.config.keys import value_at, walk
from greenroom.config.schema import Config

_REACHES_OUT = re.compile(
    r"path|url|uri|file|folder|(^|_)dir|command|(^|_)cmd|(^|_)args$|(^|_)cwd$|host|endpoint|proxy|program|executable"
    r"|(^|_)env$|address|isolation",
    re.IGNORECASE,
)
"""Names of binding options that lead to a file, a program or another machine."""


def changes_need_owner(update: Mapping[str, Any], current: Config | None = None) -> list[str]:
    """The dotted keys of a ``config_update`` that only the owner may set, in the names of the update's own format.

    With ``current``, values that are already in force are nobody's change. An unknown key that sounds like a path or a
    URL counts too: better refused as forbidden than reaching a binding.
    """
    mapped = as_ours(update, format_of(update), current or Config())
    before = current.model_dump(mode="json") if current is not None else {}
    found = {
        _foreign_name(mapped.ways, path): None
        for path in (*_marked(mapped.values), *_options(mapped.values))
        if not _same(mapped.values, before, path)
    }
    taken = set(mapped.ways.values())
    for name in update:
        if (
            isinstance(name, str)
            and name not in Config.model_fields
            and (name,) not in taken
            and _REACHES_OUT.search(name)
        ):
            found[name] = None
    return list(found)


def _marked(values: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    for key in walk():
        try:
            value_at(values, key.path)
        except KeyError:
            continue
        if key.owner_only:
            yield key.path


def _options(values: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    operations = values.get("operations")
    for index, entry in enumerate(operations if isinstance(operations, list | tuple) else ()):
        yield from _reaching(entry, ("operations", index))
    bindings = values.get("bindings")
    if isinstance(bindings, Mapping):
        for binding, options in bindings.items():
            yield from _reaching(options, ("bindings", str(binding)))


def _reaching(value: Any, way: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if _REACHES_OUT.search(str(name)):
                yield (*way, str(name))
            else:
                yield from _reaching(inner, (*way, str(name)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _reaching(inner, (*way, index))


def _same(values: Mapping[str, Any], before: Mapping[str, Any], path: tuple[str | int, ...]) -> bool:
    if not before:
        return False
    now, then = _reach(values, path), _reach(before, path)
    if path[0] == "operations" and len(path) > 2:
        entry = _reach(values, path[:2])
        known = (_reach([item], (0, *path[2:])) for item in before["operations"] if _same_place(item, entry))
        return any(now == other and now is not None for other in known)
    return bool(now == then)


def _same_place(entry: Mapping[str, Any], other: Any) -> bool:
    return isinstance(other, Mapping) and (entry["role"], entry["id"]) == (other.get("role"), other.get("id"))


def _reach(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _foreign_name(ways: Mapping[tuple[str | int, ...], tuple[str | int, ...]], path: tuple[str | int, ...]) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in ways:
            return ".".join(map(str, (*ways[path[:length]], *path[length:])))
    return ".".join(map(str, path))


def public_config(config: Config) -> dict[str, Any]:
    """What ``config_get`` returns: plain data; a database URL that holds a password is left out."""
    data = config.model_dump(mode="json")
    if has_password(config.store.url):
        del data["store"]["url"]
    return data
