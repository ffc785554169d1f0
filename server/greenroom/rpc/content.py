"""What a call carries: the URL, the JSON arguments, the files and the stream, and the body that they make over HTTP."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from greenroom.rpc.address import RoutePattern, encode_url, parse_query, parse_url
from greenroom.rpc.body import BodyParser, parse_json
from greenroom.rpc.declaration import HttpMethod
from greenroom.rpc.files import File, FileLikeHandler
from greenroom.rpc.model import EndpointModel

CHUNK_BYTES: Final = 64 * 1024
LINE_END: Final = b"\r\n"


@dataclass(slots=True)
class ContentModel:
    """:param url: path and query, without the server.
    :param json_values: by argument, ready for JSON; what is not given is not there.
    :param raw_values: the files and the stream, by argument, as the caller gave them.
    """

    boundary: str
    url: str
    json_values: dict[str, Any]
    raw_values: dict[str, Any]

    @classmethod
    def parse(cls, values: Mapping[str, Any], model: EndpointModel, address: str | None = None) -> "ContentModel":
        """:raises TypeError: for a missing argument, or one of another type than declared."""
        params = model.params
        json_values: dict[str, Any] = {}
        for param in params.json_params:
            if param.name in values:
                json_values[param.name] = param.serializer.to_json(values[param.name], param.context)
            elif param.argument.is_required:
                raise TypeError(f"missing a required argument: {param.name!r}")
        carried = [*params.file_params, *((params.stream_param,) if params.stream_param else ())]
        raw_values = {param.name: values[param.name] for param in carried if param.name in values}
        for param in carried:
            if raw_values.get(param.name) is None and param.argument.is_required:
                raise TypeError(f"missing a required argument: {param.name!r}")
        return cls(uuid4().hex, encode_url(values, model, address), json_values, raw_values)


class ContentProducer:
    """The HTTP body of a call.

    ``content_type`` is ``None`` without a body; ``content_length`` is ``None`` where nobody knows it beforehand.
    """

    def __init__(self, content: ContentModel, endpoint: EndpointModel) -> None:
        """:raises ValueError: for a GET that would need a body."""
        self._content = content
        self._params = endpoint.params
        self.has_content = endpoint.params.has_body
        if self.has_content and endpoint.protocol.http_method is HttpMethod.GET:
            raise ValueError(f"{endpoint.name}: a GET carries no body, but has arguments that need one; declare POST")
        single = self._params.single_file
        if single is not None and content.raw_values.get(single.name) is None:
            self.has_content = False  # an optional file that is left out
        self.content_type: str | None = self._type() if self.has_content else None
        self.content_length: int | None = self._length() if self.has_content else 0

    def produce(self) -> Iterable[bytes]:
        if not self.has_content:
            return ()
        if self._params.is_multipart:
            return self._multipart()
        if self._params.binary_stream_param or self._params.single_file:
            name = (self._params.binary_stream_param or self._params.file_params[0]).name
            return binary_chunks(self._content.raw_values.get(name))
        return (self._json(),)

    def _type(self) -> str:
        if self._params.is_multipart:
            return f"multipart/form-data; boundary={self._content.boundary}"
        if self._params.binary_stream_param or self._params.single_file:
            return "application/octet-stream"
        return "application/json"

    def _length(self) -> int | None:
        if self._params.binary_stream_param:
            return None
        if not self._params.file_params:
            return len(self._json())
        sizes = [known_size(value) for _, value in self._files()]
        if any(size is None for size in sizes):
            return None
        content = sum(size for size in sizes if size is not None)
        if not self._params.is_multipart:
            return content
        return content + sum(map(len, self._frame())) + len(sizes) * len(LINE_END)

    def _json(self) -> bytes:
        return json.dumps(self._content.json_values, allow_nan=False, ensure_ascii=False).encode()

    def _files(self) -> list[tuple[str, Any]]:
        found = ((param.name, self._content.raw_values.get(param.name)) for param in self._params.file_params)
        return [(name, value) for name, value in found if value is not None]

    def _multipart(self) -> Iterator[bytes]:
        head, *heads, tail = self._frame()
        if head:
            yield head
        for (_, value), opening in zip(self._files(), heads, strict=True):
            yield opening
            yield from binary_chunks(value)
            yield LINE_END
        yield tail

    def _frame(self) -> list[bytes]:
        """The JSON part, the opening of each file's part, the end; a line end follows each file."""
        boundary = self._content.boundary
        opening = f"--{boundary}\r\nContent-Disposition: form-data; name=".encode()
        json_part = b""
        if self._content.json_values:
            json_part = opening + b'"json_arguments"\r\nContent-Type: application/json\r\n\r\n' + self._json() + b"\r\n"
        files = [
            opening + f'"{name}"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
            for name, _ in self._files()
        ]
        return [json_part, *files, f"--{boundary}--\r\n".encode()]


@dataclass(slots=True)
class CallModel:
    """One call, ready to be made. ``address`` stands in place of ``service/endpoint`` in its URL."""

    base_url: str
    endpoint_model: EndpointModel
    content: ContentModel
    address: str | None = None

    class Factory:
        """Arguments in, a call out."""

        def __init__(self, base_url: str, model: EndpointModel, address: str | None = None) -> None:
            self._base_url = base_url
            self._model = model
            self._address = address

        def __call__(self, *args: Any, **kwargs: Any) -> "CallModel":
            """:raises TypeError: as Python would, and for a value of another type than declared."""
            values = self._model.signature.assign_parameters_to_names(*args, **kwargs)
            content = ContentModel.parse(values, self._model, self._address)
            return CallModel(self._base_url, self._model, content, self._address)

    @property
    def url(self) -> str:
        return self.base_url.rstrip("/") + self.content.url

    def call_locally(self, function: Callable[..., Any]) -> Any:
        """Everything that the wire would do to the arguments, without one: encoded, decoded, then called."""
        model = self.endpoint_model
        path, _, query = self.content.url.partition("?")
        kwargs: dict[str, Any] = {}
        parse_url(kwargs, model, RoutePattern.of(model, self.address).match(path) or {}, parse_query(query))
        if model.protocol.is_websocket:
            parse_json(kwargs, self.content.json_values, model.params.json_params)
            kwargs |= {name: _passed(model, name, value) for name, value in self.content.raw_values.items()}
        else:
            producer = ContentProducer(self.content, model)
            parse_content(kwargs, producer.produce(), model, producer.content_type or "")
        return function(**kwargs)


def parse_content(kwargs: dict[str, Any], body: Iterable[bytes], model: EndpointModel, content_type: str = "") -> None:
    """Adds what an HTTP body holds to ``kwargs``. The declared arguments decide how it is read, not its type.

    :raises CallRefused: for a body that is not what was declared
    """
    if model.params.binary_stream_param:
        kwargs[model.params.binary_stream_param.name] = iter(body)
        return
    parser = BodyParser(model, content_type)
    for chunk in body:
        parser.feed(chunk)
    kwargs |= parser.finish()


def binary_chunks(value: Any) -> Iterable[bytes]:
    """A file's bytes in pieces of 64 KiB, or a stream's as they come; nothing for None.

    :raises TypeError: for what is neither
    """
    if value is None:
        return ()
    if FileLikeHandler.is_file_like(value):
        return FileLikeHandler.to_bytes_iterable(value, chunk_size=CHUNK_BYTES)
    if not isinstance(value, Iterable):
        raise TypeError(f"expected a file or a stream of bytes, got {type(value).__name__}")
    return map(binary_piece, value)


def binary_piece(item: Any) -> bytes:
    """Bytes are sent as they are; anything else as the file handler writes it: text in UTF-8, objects as JSON lines."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    return b"".join(FileLikeHandler.to_bytes_iterable([item]))


def known_size(value: Any) -> int | None:
    """Bytes of a file-like value, if that can be told without reading it."""
    match value:
        case bytes():
            return len(value)
        case File():
            return len(value.content)
        case BytesIO():
            return len(value.getbuffer())
        case str() | Path():
            return Path(value).stat().st_size
        case _:
            return None


def _passed(model: EndpointModel, name: str, value: Any) -> Any:
    stream = model.params.stream_param
    if stream is None or stream.name != name:
        return None if value is None else FileLikeHandler.to_bytes(value)
    serializer = stream.serializer
    if serializer is None:
        return binary_chunks(value)
    return (serializer.from_json(serializer.to_json(item)) for item in value)
