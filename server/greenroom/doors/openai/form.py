"""A multipart form with one file, read as it comes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenroom.doors.openai.exchange import Exchange
from greenroom.doors.openai.failures import bad_field, too_large
from greenroom.errors import BadRequest

if TYPE_CHECKING:
    from greenroom.rpc.multipart import Take

_FILE = "file"
_FIELD_BYTES = 128 << 10


@dataclass(slots=True)
class Form:
    """``[]`` behind a name is left out."""

    fields: dict[str, str] = field(default_factory=dict)
    """of one that stands several times, the last"""
    lists: dict[str, list[str]] = field(default_factory=dict)
    """all that stand there"""
    file: bytes | None = None


async def read_form(exchange: Exchange, file_bytes: int, all_bytes: int) -> Form:
    """:raises BadRequest: no such form. :raises TooLarge: with the field."""
    from greenroom.rpc.failures import CallRefused, UploadCut
    from greenroom.rpc.multipart import MultipartParser, boundary_of

    kind = exchange.header("content-type")
    if not kind.lower().startswith("multipart/form-data"):
        raise BadRequest("the body must be multipart/form-data")
    parts: list[tuple[str, bytearray]] = []

    def open_part(name: str) -> "Take":
        value = bytearray()
        parts.append((name, value))
        limit = file_bytes if name == _FILE else _FIELD_BYTES

        def take(data: bytes) -> None:
            value.extend(data)
            if len(value) > limit:
                raise too_large(name[:80], f"at most {limit} bytes are taken")

        return take

    body = await exchange.body(all_bytes)
    try:
        parser = MultipartParser(boundary_of(kind), open_part)
        parser.feed(body)
        parser.finish()
    except (CallRefused, UploadCut) as error:
        raise BadRequest(str(error)) from None
    form = Form()
    for name, value in parts:
        if name == _FILE:
            form.file = bytes(value)
            continue
        bare = name.removesuffix("[]")
        try:
            form.fields[bare] = value.decode()
        except UnicodeDecodeError:
            raise bad_field(name[:80], "is no UTF-8 text") from None
        form.lists.setdefault(bare, []).append(form.fields[bare])
    return form
