"""Where each argument of an endpoint travels: the path, the query, the JSON body, a file or the stream.

For each argument in order, the first rule that fits:

1. it is the endpoint's ``is_pathlike``    -> the rest of the path (str, Path, None)
2. its annotation holds ``Iterable[T]``    -> the stream; bytes stay bytes, anything else goes item by item
3. bytes, BytesIO or File                  -> a file; None beside makes it optional
4. it is a bare type variable              -> JSON
5. primitives only                         -> a segment of the path, always there
6. primitives and None                     -> the query, left out when None
7. anything else                           -> a key of the JSON object

``force_json_params`` skips 5 and 6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from greenroom.rpc.annotation import ASYNC_STREAMS, Annotation
from greenroom.rpc.protocol import ProtocolModel, ProtocolType
from greenroom.rpc.result import BESIDE_BINARY, BINARY, is_file, is_file_type, stream_item
from greenroom.rpc.serialization import SerializationContext, Serializer
from greenroom.rpc.signature import Argument, Signature

PRIMITIVES: Final[frozenset[Any]] = frozenset({int, float, str, bool, datetime, Path, type})
PATHLIKE: Final[frozenset[Any]] = frozenset({str, Path, type(None)})


@dataclass(frozen=True, slots=True)
class ParamDefinition:
    """:param context: in which a value of it is read and written: errors name the argument first."""

    argument: Argument
    serializer: Serializer[Any]
    context: SerializationContext

    @property
    def name(self) -> str:
        return self.argument.name


@dataclass(frozen=True, slots=True)
class FileParamDefinition:
    argument: Argument
    optional: bool

    @property
    def name(self) -> str:
        return self.argument.name


@dataclass(frozen=True, slots=True)
class StreamParamDefinition:
    """:param serializer: of one item; ``None`` for bytes.
    :param is_async: the annotation itself is an asynchronous stream.
    """

    argument: Argument
    serializer: Serializer[Any] | None
    is_async: bool

    @property
    def name(self) -> str:
        return self.argument.name


@dataclass(frozen=True, slots=True)
class ParamsModel:
    path_params: tuple[ParamDefinition, ...]
    query_params: tuple[ParamDefinition, ...]
    json_params: tuple[ParamDefinition, ...]
    file_params: tuple[FileParamDefinition, ...]
    binary_stream_param: StreamParamDefinition | None
    custom_stream_param: StreamParamDefinition | None
    pathlike_param: ParamDefinition | None = None

    @classmethod
    def parse(
        cls,
        signature: Signature,
        protocol: ProtocolModel,
        force_json_params: bool = False,
        is_pathlike: str | None = None,
    ) -> "ParamsModel":
        """:raises ValueError: for a combination that the protocol does not carry.
        :raises TypeError: for a type that no wire carries.
        """
        sorter = _Sorter(signature, force_json_params, is_pathlike)
        for argument in signature.arguments:
            sorter.place(argument)
        found = sorter.found()
        if is_pathlike is not None and found.pathlike_param is None:
            raise ValueError(f"{signature.name} has no argument {is_pathlike} to be the rest of the path")
        if protocol.type is ProtocolType.HTTP:
            found._check_http(signature.name)
        return found

    @property
    def stream_param(self) -> StreamParamDefinition | None:
        return self.binary_stream_param or self.custom_stream_param

    @property
    def is_multipart(self) -> bool:
        return len(self.file_params) > 1 or (bool(self.file_params) and bool(self.json_params))

    @property
    def single_file(self) -> FileParamDefinition | None:
        """The file that is the whole body."""
        return self.file_params[0] if self.file_params and not self.is_multipart else None

    @property
    def has_body(self) -> bool:
        return bool(self.json_params or self.file_params or self.stream_param)

    def _check_http(self, name: str) -> None:
        if self.custom_stream_param:
            raise ValueError(f"{name}: a stream of other items than bytes needs @websocket, HTTP carries bytes only")
        if self.binary_stream_param and (self.json_params or self.file_params):
            raise ValueError(
                f"{name}: over HTTP the stream {self.binary_stream_param.name} is the whole body, JSON arguments and "
                "files cannot go with it; use @websocket"
            )


class _Sorter:
    def __init__(self, signature: Signature, force_json: bool, pathlike: str | None) -> None:
        self._function = signature.name
        self._force_json = force_json
        self._pathlike = pathlike
        self._path: list[ParamDefinition] = []
        self._query: list[ParamDefinition] = []
        self._json: list[ParamDefinition] = []
        self._files: list[FileParamDefinition] = []
        self._stream: StreamParamDefinition | None = None
        self._rest: ParamDefinition | None = None

    def place(self, argument: Argument) -> None:
        annotation = argument.annotation
        if argument.name == self._pathlike:
            self._place_pathlike(argument)
        elif annotation.streams:
            self._place_stream(argument)
        elif is_file(annotation):
            self._files.append(FileParamDefinition(argument, annotation.is_nullable or argument.default is None))
        elif any(is_file_type(one) for one in annotation.types):
            raise ValueError(f"{self._where(argument)}: beside bytes and files only str, Path and None stand")
        else:
            self._list_for(annotation).append(self._param(argument))

    def found(self) -> ParamsModel:
        binary = self._stream if self._stream and self._stream.serializer is None else None
        return ParamsModel(
            tuple(self._path),
            tuple(self._query),
            tuple(self._json),
            tuple(self._files),
            binary,
            None if binary else self._stream,
            self._rest,
        )

    def _list_for(self, annotation: Annotation) -> list[ParamDefinition]:
        if annotation.from_typevar is not None or self._force_json or not is_primitive(annotation):
            return self._json
        return self._query if annotation.is_nullable else self._path

    def _place_pathlike(self, argument: Argument) -> None:
        if not {one.type for one in argument.annotation.types} <= PATHLIKE:
            raise ValueError(f"{self._where(argument)}: the rest of a path is str, Path or None")
        self._rest = self._param(argument)

    def _place_stream(self, argument: Argument) -> None:
        if self._stream is not None:
            raise ValueError(f"{self._where(argument)}: a second stream beside {self._stream.name}; there is one")
        streams = argument.annotation.streams
        item = stream_item(streams[0])
        beside = {one.type for one in argument.annotation.types} - {one.type for one in streams}
        if len(streams) > 1 or not beside <= BINARY | BESIDE_BINARY:
            raise ValueError(f"{self._where(argument)}: beside Iterable[T] only file-like types and None may stand")
        serializer = None if item is bytes else self._named(argument, lambda: Serializer.parse(item))
        self._stream = StreamParamDefinition(argument, serializer, streams[0].type in ASYNC_STREAMS)

    def _param(self, argument: Argument) -> ParamDefinition:
        annotation = argument.annotation.raw_annotation
        serializer = self._named(argument, lambda: Serializer.parse(annotation))
        return ParamDefinition(argument, serializer, SerializationContext((argument.name,)))

    def _named(self, argument: Argument, parse: Callable[[], Serializer[Any]]) -> Serializer[Any]:
        try:
            return parse()
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self._where(argument)}: {error}") from error

    def _where(self, argument: Argument) -> str:
        return f"{self._function}, argument {argument.name}"


def is_primitive(annotation: Annotation) -> bool:
    """All alternatives but None are values with a text form."""
    present = annotation.present
    return bool(present) and all(
        one.type in PRIMITIVES or (isinstance(one.type, type) and issubclass(one.type, Enum)) for one in present
    )
