"""URLs, both ways: every segment is encoded on its own, so any text survives.

    /{service}/{endpoint}/{path parameters}[/{pathlike}][?nullable=parameters]

``a/b`` travels as ``a%2Fb``, ``..`` as ``%2E%2E``; only the slashes of a pathlike argument are slashes of the URL.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from greenroom.rpc.failures import CallRefused
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.placement import ParamDefinition

_DOTS: Final = {".": "%2E", "..": "%2E%2E"}
QUERY_FIELDS: Final = 100


def encode_segment(text: str) -> str:
    """One segment of a path; empty for an empty text."""
    return _DOTS.get(text) or quote(text, safe="")


def decode_segment(raw: str) -> str:
    """:raises CallRefused: (400) if the bytes are no UTF-8."""
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise CallRefused(400, f"{raw!r} in the URL is not percent-encoded UTF-8") from None


def encode_url(values: Mapping[str, Any], model: EndpointModel, address: str | None = None) -> str:
    """``/service/endpoint/...?...``; arguments that are not given take their defaults, as a path has no gaps.

    :param address: in place of ``service/endpoint``.
    :raises TypeError: for a missing argument, or one of another type than declared.
    """
    parts = ["", *(encode_segment(part) for part in (address or model.endpoint_address).strip("/").split("/"))]
    parts += [encode_segment(_text(param, values)) for param in model.params.path_params]
    rest = model.params.pathlike_param
    if rest is not None and (value := _given(rest, values)) is not None:
        text = value.as_posix() if isinstance(value, PurePath) else rest.serializer.to_string(value)
        parts += [encode_segment(part) for part in text.split("/")]
    query = [
        f"{quote(param.name, safe='')}={quote(param.serializer.to_string(value), safe='')}"
        for param in model.params.query_params
        if (value := values.get(param.name)) is not None
    ]
    return "/".join(parts) + ("?" + "&".join(query) if query else "")


def build_route_path(model: EndpointModel, address: str | None = None) -> str:
    """``/my-service/select/{id}``: the path with the names of its parameters."""
    return "/" + "/".join(_template(model, address, "{%s}", "{%s:path}"))


def url_template(model: EndpointModel, address: str | None = None) -> str:
    """``/my-service/select/<id>?drop_duplicates=<drop_duplicates>``: what a person reads."""
    query = "&".join(f"{param.name}=<{param.name}>" for param in model.params.query_params)
    return "/" + "/".join(_template(model, address, "<%s>", "<%s>")) + (f"?{query}" if query else "")


def parse_url(
    kwargs: dict[str, Any],
    model: EndpointModel,
    path_params: Mapping[str, str],
    query_params: Mapping[str, str],
) -> None:
    """Adds the values of decoded texts to ``kwargs``; a nullable argument that nobody gave becomes None.

    :raises CallRefused: (400) for a text that is none of the declared type; its message says which.
    """
    for param in model.params.path_params:
        kwargs[param.name] = _value(param, path_params[param.name])
    rest = model.params.pathlike_param
    if rest is not None and rest.name in path_params:
        kwargs[rest.name] = _value(rest, path_params[rest.name])
    for param in model.params.query_params:
        if param.name in query_params:
            kwargs[param.name] = _value(param, query_params[param.name])
    for nullable in (*model.params.query_params, *((rest,) if rest and rest.argument.annotation.is_nullable else ())):
        if nullable.name not in kwargs and not nullable.argument.has_default:
            kwargs[nullable.name] = None


def parse_query(raw: str) -> dict[str, str]:
    """:raises CallRefused: (400) for bytes that are no UTF-8, or too many fields."""
    try:
        return dict(parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS))
    except ValueError as error:
        raise CallRefused(400, f"the query cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """What a raw path must look like to reach an endpoint."""

    address: tuple[str, ...]
    names: tuple[str, ...]
    rest: str
    """the pathlike argument; empty if there is none"""

    @classmethod
    def of(cls, model: EndpointModel, address: str | None = None) -> "RoutePattern":
        own = (address or model.endpoint_address).strip("/").split("/")
        rest = model.params.pathlike_param
        names = tuple(param.name for param in model.params.path_params)
        return cls(tuple(own), names, rest.name if rest else "")

    def match(self, raw_path: str) -> dict[str, str] | None:
        """The decoded parameters; ``None`` for the path of something else.

        :raises CallRefused: (400) if a segment is no UTF-8
        """
        parts = raw_path.split("/")[1:]
        fixed = len(self.address) + len(self.names)
        if len(parts) < fixed or (len(parts) > fixed and not self.rest):
            return None
        if any(own != part and own != decode_segment(part) for own, part in zip(self.address, parts, strict=False)):
            return None
        found = {name: decode_segment(part) for name, part in zip(self.names, parts[len(self.address) :], strict=False)}
        if len(parts) > fixed:
            found[self.rest] = "/".join(decode_segment(part) for part in parts[fixed:])
        return found


def _template(model: EndpointModel, address: str | None, form: str, rest_form: str) -> Iterator[str]:
    yield from (address or model.endpoint_address).strip("/").split("/")
    yield from (form % param.name for param in model.params.path_params)
    if model.params.pathlike_param is not None:
        yield rest_form % model.params.pathlike_param.name


def _given(param: ParamDefinition, values: Mapping[str, Any]) -> Any:
    if param.name in values:
        return values[param.name]
    if param.argument.has_default:
        return param.argument.default
    if param.argument.annotation.is_nullable:
        return None
    raise TypeError(f"missing a required argument: {param.name!r}")


def _text(param: ParamDefinition, values: Mapping[str, Any]) -> str:
    return param.serializer.to_string(_given(param, values))


def _value(param: ParamDefinition, text: str) -> Any:
    try:
        return param.serializer.from_string(text)
    except (TypeError, ValueError) as error:
        raise CallRefused(400, str(error)) from error
