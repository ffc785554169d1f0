"""The hub: what files a repository has, how large they are, and where they are fetched.

GET <endpoint>/api/models/<owner>/<name>/tree/<revision>?recursive=1   -> [{type, path, size, oid, lfs?: {oid}}]
GET <endpoint>/<owner>/<name>/resolve/<revision>/<path>                -> the file, often by way of another host
"""

import fnmatch
import glob
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urljoin

from greenroom.bindings.downloads.addresses import checked_url, origin
from greenroom.bindings.downloads.checksum import Checksum
from greenroom.bindings.downloads.entries import HubSource, RemoteFile
from greenroom.bindings.downloads.failures import refused
from greenroom.bindings.downloads.paths import checked_path
from greenroom.bindings.downloads.web import Login, Patience, Web, transient
from greenroom.errors import BadRequest, BindingFailed

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
_MAX_LISTING_BYTES: Final = 32 << 20
_MAX_PAGES: Final = 100
_NEVER: Final = (".gitattributes", ".gitignore")
_SAFE: Final = "model*.safetensors"


@dataclass(frozen=True, slots=True)
class Hub:
    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = None

    @classmethod
    def of(cls, endpoint: str | None, token: str | None) -> "Hub":
        """:raises BadRequest: for an endpoint that is none."""
        if not endpoint:
            return cls(DEFAULT_ENDPOINT, token)
        try:
            checked_url(endpoint)
        except ValueError as error:
            raise BadRequest(f"HF_ENDPOINT: {error}") from None
        return cls(endpoint.rstrip("/"), token)

    @property
    def login(self) -> Login | None:
        return Login(origin(checked_url(self.endpoint)), self.token) if self.token else None

    def page(self, repository: str) -> str:
        return f"{self.endpoint}/{repository}"

    def url(self, source: HubSource, path: str) -> str:
        return f"{self.endpoint}/{source.repository}/resolve/{quote(source.revision, safe='')}/{quote(path)}"

    async def files(self, web: Web, source: HubSource, patience: Patience) -> tuple[RemoteFile, ...]:
        """What of the repository is wanted, with sizes and checksums.

        :raises Interruption: trying again may help.
        :raises BindingFailed: it is not there, not for us, or nonsense.
        """
        url: str | None = (
            f"{self.endpoint}/api/models/{source.repository}/tree/{quote(source.revision, safe='')}?recursive=1"
        )
        found: dict[str, RemoteFile] = {}
        for _ in range(_MAX_PAGES):
            if url is None:
                break
            items, url = await self._page(web, url, source, patience)
            for item in items:
                if (file := self._file(source, item)) is not None:
                    found[file.path] = file
        if not found:
            wanted = f" that fits {', '.join(source.include)}" if source.include else ""
            raise BindingFailed(f"{source.repository} has no file{wanted}; look at {self.page(source.repository)}")
        return tuple(found[path] for path in sorted(found) if not (source.include and _is_twin(path, found)))

    async def _page(
        self, web: Web, url: str, source: HubSource, patience: Patience
    ) -> tuple[list[Mapping[str, Any]], str | None]:
        where = f"the list of {source.repository}"
        async with web.open(url) as response:
            if (interruption := transient(response, patience)) is not None:
                raise interruption
            if response.status_code != 200:
                page = self.page(source.repository)
                raise refused(response.status_code, where, source.repository, page, web.has_token)
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_LISTING_BYTES:
                    raise BindingFailed(f"{where} is larger than {_MAX_LISTING_BYTES} bytes")
            following = response.links.get("next", {}).get("url")
        try:
            items = json.loads(bytes(body))
        except ValueError:
            raise BindingFailed(f"{where}: {self.endpoint} answered with something that is no list of files") from None
        if not isinstance(items, list):
            raise BindingFailed(f"{where}: {self.endpoint} answered with something that is no list of files")
        return [item for item in items if isinstance(item, dict)], urljoin(url, following) if following else None

    def _file(self, source: HubSource, item: Mapping[str, Any]) -> RemoteFile | None:
        """``None``: it is a folder, or not wanted. :raises BindingFailed: it has a name that cannot be written."""
        path, size = item.get("path"), item.get("size")
        if item.get("type") != "file" or not isinstance(path, str) or not _wanted(path, source.include):
            return None
        try:
            target = checked_path(f"{source.repository}/{path}")
        except ValueError as error:
            raise BindingFailed(f"{source.repository} has a file that cannot be written here: {error}") from None
        known = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None
        return RemoteFile(target, self.url(source, path), known, _checksum(item))


def _is_twin(path: str, found: Mapping[str, Any]) -> bool:
    """Whether it is a pickle of weights that are wanted as safetensors, too: the same numbers once more."""
    folder, _, name = path.rpartition("/")
    is_pickle = fnmatch.fnmatchcase(name, "pytorch_model*.bin*")
    return is_pickle and any(fnmatch.fnmatchcase(other, f"{glob.escape(folder)}/{_SAFE}") for other in found)


def _wanted(path: str, include: tuple[str, ...]) -> bool:
    if not include:
        return path not in _NEVER
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in include)


def _checksum(item: Mapping[str, Any]) -> Checksum | None:
    large = item.get("lfs")
    kind, value = ("sha256", large.get("oid")) if isinstance(large, dict) else ("git", item.get("oid"))
    try:
        return Checksum.parse(kind, value.removeprefix("sha256:")) if isinstance(value, str) else None
    except ValueError:
        return None
