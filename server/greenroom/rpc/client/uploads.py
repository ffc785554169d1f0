"""What a client sends, from whatever it was given: paths are read, iterables drawn, items encoded."""

from collections.abc import AsyncIterable, Callable
from typing import Any

from greenroom.rpc.content import binary_piece
from greenroom.rpc.files import FileLikeHandler
from greenroom.rpc.frames import FILE_CHUNK
from greenroom.rpc.placement import StreamParamDefinition
from greenroom.rpc.result import is_file_type


def source_of(param: StreamParamDefinition, value: Any) -> tuple[Any, Callable[[Any], bytes]]:
    """The items and how each becomes bytes. None is an empty stream.

    :raises TypeError: for what is neither a stream nor a file
    """
    encode = param.serializer.to_json_bytes if param.serializer else binary_piece
    if value is None:
        return (), encode
    if not isinstance(value, AsyncIterable) and FileLikeHandler.is_file_like(value):
        if param.serializer is None:
            return FileLikeHandler.to_bytes_iterable(value, chunk_size=FILE_CHUNK), encode
        if not any(is_file_type(one) for one in param.argument.annotation.types):
            raise TypeError(f"{param.name} takes items, not a {type(value).__name__}")
        read = param.serializer.from_json
        return (read(line) for line in FileLikeHandler.to_jsonlines_iterable(value)), encode
    if not isinstance(value, AsyncIterable) and not hasattr(value, "__iter__"):
        raise TypeError(f"{param.name} takes a stream, not a {type(value).__name__}")
    return value, encode
