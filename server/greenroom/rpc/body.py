"""The body of an HTTP call, read as it comes: the declared arguments decide what it must be."""

import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any, Final

from pydantic_core import from_json

from greenroom.rpc.failures import CallRefused
from greenroom.rpc.limits import Limits
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.multipart import MultipartParser, Take, boundary_of
from greenroom.rpc.placement import ParamDefinition
from greenroom.rpc.signature import Argument

JSON_PART: Final = "json_arguments"


def read_json(raw: bytes | bytearray | str) -> Any:
    """:raises CallRefused: (400) for what is no JSON."""
    try:
        return from_json(raw)
    except ValueError as error:
        # The strict reader has no room for lone surrogates and very deep values; the other says what is wrong.
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise CallRefused(400, f"the JSON cannot be read: {error}") from None


def parse_json(kwargs: dict[str, Any], raw: Any, json_params: tuple[ParamDefinition, ...]) -> None:
    """Adds the declared keys of a JSON object to ``kwargs``; other keys are ignored.

    :raises CallRefused: (422) for what is no object, or a value that is not of the declared type
    """
    if not isinstance(raw, dict):
        raise CallRefused(422, f"expected a JSON object with the arguments, got {type(raw).__name__}")
    for param in json_params:
        if param.name in raw:
            try:
                kwargs[param.name] = param.serializer.from_json(raw[param.name], param.context)
            except (TypeError, ValueError) as error:
                raise CallRefused(422, str(error)) from error


def check_complete(kwargs: dict[str, Any], arguments: Iterable[Argument]) -> None:
    """Nullable arguments that nobody gave become None. :raises CallRefused: (422) for other missing ones."""
    for argument in arguments:
        if argument.name in kwargs or argument.has_default:
            continue
        if not argument.annotation.is_nullable:
            raise CallRefused(422, f"missing a required argument: {argument.name!r}")
        kwargs[argument.name] = None


class BodyParser:
    """JSON, one file, or a form; streams do not come here, they are not gathered.

    :raises CallRefused: on the way for what is too large or malformed
    """

    def __init__(self, model: EndpointModel, content_type: str, limits: Limits | None = None) -> None:
        self._params = model.params
        self._content_type = content_type
        self._limits = limits or Limits()
        self._pieces: dict[str, _Piece] = {}
        self._parser: MultipartParser | None = None
        if self._params.is_multipart:
            self._parser = MultipartParser(boundary_of(content_type), self._open)

    def feed(self, data: bytes) -> None:
        if self._parser is not None:
            self._parser.feed(data)
        elif data and self._params.has_body:
            single = self._params.single_file
            self._piece(single.name if single else JSON_PART).take(data)

    def finish(self) -> dict[str, Any]:
        """The arguments. :raises UploadCut: if a form has no end."""
        # The parser calls back into this: parted, both go when the call ends, and large files with them.
        parser, self._parser = self._parser, None
        if parser is not None:
            parser.finish()
        found: dict[str, Any] = {}
        written = self._pieces.pop(JSON_PART, None)
        if self._params.json_params and written is not None:
            parse_json(found, read_json(written.value()), self._params.json_params)
        for param in self._params.file_params:
            piece = self._pieces.get(param.name)
            if piece is not None:
                found[param.name] = piece.value()
        single = self._params.single_file
        if single is not None and single.name not in found and not (single.optional and not self._content_type):
            found[single.name] = b""
        return found

    def _open(self, name: str) -> Take | None:
        wanted = {JSON_PART, *(param.name for param in self._params.file_params)}
        return self._piece(name).take if name in wanted else None

    def _piece(self, name: str) -> "_Piece":
        limit = self._limits.json_bytes if name == JSON_PART else self._limits.file_bytes
        return self._pieces.setdefault(name, _Piece(name, limit))


class _Piece:
    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._held = BytesIO()

    def take(self, data: bytes) -> None:
        if self._held.tell() + len(data) > self._limit:
            raise CallRefused(413, f"{self._name} is larger than {self._limit} bytes")
        self._held.write(data)

    def value(self) -> bytes:
        return self._held.getvalue()
