"""``models.yaml``, typed: what each entry is, and what would be fetched for it.

    files: [{path, url, size, sha256}]                  -> these files
    hub: owner/name, revision?, include?                -> files of a hub's repository, below <owner>/<name>/
    name: owner/name, type: gguf, variants: [{name}]    -> one download a variant: that file of the hub's repository
    filename, server, SHA256?, variants?                -> lollms of 2023: <server>/<filename>, one download a variant

An entry that cannot be read keeps what can be shown of it, and says in ``problem`` what is wrong.
"""

import glob
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from greenroom.bindings.downloads.addresses import checked_url
from greenroom.bindings.downloads.checksum import Checksum
from greenroom.bindings.downloads.paths import checked_path, folded

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9_][\w.\-]{0,95}", re.ASCII)
_SPLIT = re.compile(r"(?P<stem>.+)-0*1-of-(?P<count>\d{1,5})(?P<suffix>\.gguf)$")
_MAX_FILES: Final = 10_000


@dataclass(frozen=True, slots=True)
class RemoteFile:
    path: str
    """below ``models/<binding>/``, with ``/``"""
    url: str
    size: int | None = None
    """bytes"""
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class HubSource:
    repository: str
    """``owner/name``; its files are put into that folder"""
    revision: str = "main"
    include: tuple[str, ...] = ()
    """patterns of the files that are wanted; empty: all of them"""


@dataclass(frozen=True, slots=True)
class Download:
    """One thing that can be installed: the files of an entry, or one of its variants."""

    name: str
    """what ``install_model`` takes"""
    aliases: frozenset[str] = frozenset()
    """what else it goes by"""
    size: int | None = None
    """bytes, as the entry says"""
    files: tuple[RemoteFile, ...] = ()
    hub: HubSource | None = None
    by_hand: tuple[str, ...] = ()
    """where else its one file counts, if somebody has put it there"""

    @property
    def digest(self) -> str:
        """Changes with what is asked for; another address of a file with a checksum is the same file."""
        hub = [self.hub.repository, self.hub.revision, *self.hub.include] if self.hub else []
        files = [[one.path, one.size, str(one.checksum or one.url)] for one in self.files]
        return hashlib.sha256(json.dumps([hub, files]).encode()).hexdigest()[:16]

    @property
    def source(self) -> str:
        """Where it comes from, for a person and for lollms' ``model_url``."""
        return self.hub.repository if self.hub else self.files[0].url


@dataclass(frozen=True, slots=True)
class ModelEntry:
    name: str
    title: str = ""
    description: str = ""
    license: str = ""
    languages: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    type: str = ""
    """lower case: ``local``, ``api``, ``gguf``, ..."""
    size: int | None = None
    """bytes"""
    downloads: tuple[Download, ...] = ()
    """empty: there is nothing to fetch"""
    problem: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_nothing(self) -> bool:
        """It is used over the network."""
        return self.type == "api"


def read_entry(raw: Mapping[str, Any]) -> ModelEntry:
    """Never raises."""
    name = _text(raw.get("name")) or _text(raw.get("filename")) or "unnamed"
    kind = (_text(raw.get("type")) or _text(raw.get("model_type"))).lower()
    downloads: tuple[Download, ...] = ()
    problem = ""
    try:
        downloads = () if kind == "api" else tuple(_downloads(raw, name, kind))
    except ValueError as error:
        problem = f"the entry {name[:80]!r} in models.yaml cannot be installed: {error}"
    size = _size(raw.get("size")) or _size(raw.get("filesize")) or _size(raw.get("file_size"))
    if size is None and downloads:
        size = downloads[0].size
    return ModelEntry(
        name=name,
        title=_text(raw.get("title")),
        description=_text(raw.get("description")),
        license=_text(raw.get("license")),
        languages=_texts(raw.get("languages")),
        roles=_texts(raw.get("roles")),
        type=kind,
        size=size,
        downloads=downloads,
        problem=problem,
        raw=raw,
    )


def read_entries(raws: Sequence[Mapping[str, Any]]) -> list[ModelEntry]:
    """Every entry, in order. The second of two downloads of one name has that as its problem."""
    entries: list[ModelEntry] = []
    taken: set[str] = set()
    for raw in raws:
        entry = read_entry(raw)
        twice = next((one.name for one in entry.downloads if one.name in taken), "")
        if twice:
            problem = f"the entry {twice[:80]!r} in models.yaml cannot be installed: an earlier entry has that name"
            entry = replace(entry, downloads=(), problem=problem)
        taken |= {one.name for one in entry.downloads}
        entries.append(entry)
    return entries


def _text(value: object) -> str:
    return " ".join(str(value).split()) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(text for item in items if (text := _text(item)))


def _size(value: object) -> int | None:
    """lollms' lists have words, floats and strings here; what is no size is not known."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        size = int(value)
    except ValueError:
        return None
    return size if 0 < size < 1 << 50 else None


# Our own shapes


def _https(value: str) -> str:
    checked_url(value)
    return value


def _sha256(value: object) -> Checksum | None:
    return None if value is None else Checksum.parse("sha256", str(value))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, AfterValidator(checked_path)]
    url: Annotated[str, AfterValidator(_https)]
    size: Annotated[int, Field(ge=0, lt=1 << 50)] | None = None
    sha256: Annotated[Checksum | None, BeforeValidator(_sha256)] = None

    def remote(self) -> RemoteFile:
        return RemoteFile(self.path, self.url, self.size, self.sha256)


_FILES = TypeAdapter(Annotated[list[_File], Field(min_length=1, max_length=_MAX_FILES)])


def _downloads(raw: Mapping[str, Any], name: str, kind: str) -> Iterator[Download]:
    """:raises ValueError: with the key and what is wrong there."""
    if raw.get("files") is not None:
        yield _listed(raw, name)
    elif raw.get("hub") is not None:
        yield _from_hub(raw, name)
    elif raw.get("server") and raw.get("filename"):
        yield from _lollms(raw)
    elif kind == "gguf" and raw.get("variants") and _REPOSITORY.fullmatch(name):
        yield from _variants(raw, name)


def is_repository(name: str) -> bool:
    """Whether it could be ``owner/name`` of the hub, and a folder here."""
    if not _REPOSITORY.fullmatch(name):
        return False
    try:
        checked_path(name)
    except ValueError:
        return False
    return True


def _listed(raw: Mapping[str, Any], name: str) -> Download:
    try:
        files = tuple(item.remote() for item in _FILES.validate_python(raw["files"]))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, ("files", *first["loc"])))
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    _refuse_twins(files)
    sizes = [file.size for file in files if file.size is not None]
    total = sum(sizes) if len(sizes) == len(files) else _size(raw.get("size"))
    aliases = _aliases(raw) | ({files[0].path.rpartition("/")[2], files[0].url} if len(files) == 1 else set())
    return Download(name, aliases - {name}, total, files)


def _refuse_twins(files: Sequence[RemoteFile]) -> None:
    seen: set[str] = set()
    for file in files:
        if folded(file.path) in seen:
            raise ValueError(f"files: {file.path!r} stands there twice")
        seen.add(folded(file.path))


def _from_hub(raw: Mapping[str, Any], name: str) -> Download:
    repository = raw["hub"]
    if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"hub: wanted owner/name, found {str(repository)[:80]!r}")
    checked_path(repository)
    revision = raw.get("revision") or "main"
    if not isinstance(revision, str) or not re.fullmatch(r"[\w./\-]{1,200}", revision, re.ASCII) or ".." in revision:
        raise ValueError(f"revision: wanted a branch, a tag or a commit, found {str(revision)[:80]!r}")
    include = raw.get("include") or []
    if not isinstance(include, list) or not all(isinstance(one, str) and one for one in include):
        raise ValueError("include: wanted a list of patterns, as in [config.json, '*.safetensors']")
    aliases = _aliases(raw) | {repository}
    return Download(name, aliases - {name}, _size(raw.get("size")), hub=HubSource(repository, revision, tuple(include)))


def _aliases(raw: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(text for key in ("filename", "name") if (text := _text(raw.get(key))))


# lollms' shapes


def _variant_items(raw: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Name and size; an item may be a mapping or a plain string."""
    variants = raw.get("variants")
    for item in variants if isinstance(variants, list) else []:
        name = _text(item.get("name")) if isinstance(item, Mapping) else _text(item)
        if name:
            yield name, _size(item.get("size")) if isinstance(item, Mapping) else None


def _variants(raw: Mapping[str, Any], repository: str) -> Iterator[Download]:
    items = list(_variant_items(raw))
    revision = _text(raw.get("revision")) or "main"
    for name, size in items:
        checked_path(name)
        aliases = {name.rpartition("/")[2], f"{repository}/{name}", *({repository} if len(items) == 1 else ())}
        source = HubSource(repository, revision, (_all_parts(name),))
        by_hand = (name.rpartition("/")[2], f"{repository}/{name}")
        yield Download(name, frozenset(aliases - {name}), size, hub=source, by_hand=by_hand)


def _all_parts(name: str) -> str:
    """A pattern for the file, and where it is the first of several, for all of them."""
    if found := _SPLIT.fullmatch(name):
        return f"{glob.escape(found['stem'])}-*-of-{found['count']}{found['suffix']}"
    return glob.escape(name)


def _lollms(raw: Mapping[str, Any]) -> Iterator[Download]:
    server, filename = str(raw["server"]).strip(), _text(raw["filename"])
    items = dict(_variant_items(raw))
    items.setdefault(filename, _size(raw.get("filesize")) or _size(raw.get("file_size")))
    for name, size in items.items():
        checked_path(name)
        url = f"{server}{'' if server.endswith('/') else '/'}{quote(name)}"
        checked_url(url)
        checksum = _lollms_checksum(raw) if name == filename else None
        aliases = {name.rpartition("/")[2], url, f"{server}{'' if server.endswith('/') else '/'}{name}"}
        if name == filename:
            aliases |= _aliases(raw)
        # These lists were written by hand: their sizes are shown, but a file of another size is taken all the same.
        file = RemoteFile(name, url, None, checksum)
        yield Download(name, frozenset(aliases - {name}), size, (file,))


def _lollms_checksum(raw: Mapping[str, Any]) -> Checksum | None:
    for key, kind in (("SHA256", "sha256"), ("sha256", "sha256"), ("md5sum", "md5")):
        if text := _text(raw.get(key)):
            try:
                return Checksum.parse(kind, text)
            except ValueError:
                continue
    return None
