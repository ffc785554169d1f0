"""A service and its endpoints, compiled once from the declaration; server, client and documentation read the same."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, get_origin

from greenroom.rpc.annotation import DeclaredType, TypeMap
from greenroom.rpc.declaration import endpoint_attributes, is_service
from greenroom.rpc.naming import convert_name, endpoint_name
from greenroom.rpc.placement import ParamsModel
from greenroom.rpc.protocol import ProtocolModel
from greenroom.rpc.result import ResultModel
from greenroom.rpc.signature import Signature


@dataclass(slots=True)
class EndpointModel:
    """:param name: the function's own name.
    :param service_model: what it belongs to; ``None`` for a function that is served alone.
    """

    name: str
    signature: Signature
    protocol: ProtocolModel
    params: ParamsModel
    result: ResultModel
    service_model: "ServiceModel | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, method: Any, type_map: TypeMap | None = None, owner: type | None = None) -> "EndpointModel | None":
        """``None`` for a function that was not declared an endpoint.

        :raises TypeError: for an annotation that cannot be resolved or that no wire carries
        :raises ValueError: for a combination of arguments that the protocol does not carry
        """
        attributes = endpoint_attributes(method)
        if attributes is None:
            return None
        signature = Signature.parse(method, owner, type_map)
        protocol = ProtocolModel.parse(attributes)
        params = ParamsModel.parse(signature, protocol, attributes.force_json_params, attributes.is_pathlike)
        try:
            result = ResultModel.parse(signature, attributes.content_type)
        except TypeError as error:
            raise TypeError(f"{signature.name}, result: {error}") from error
        except ValueError as error:
            raise ValueError(f"{signature.name}, result: {error}") from error
        if params.binary_stream_param and result.is_stream and not protocol.is_websocket:
            raise ValueError(f"{signature.name}: a stream in and a stream out need @websocket, HTTP does one at a time")
        return cls(signature.name, signature, protocol, params, result)

    @property
    def endpoint_address(self) -> str:
        """``my-service/select``; ``select`` for a function that is served alone."""
        own = endpoint_name(self.name)
        return own if self.service_model is None else f"{self.service_model.name}/{own}"

    def address(self, prefix: str | None = None) -> str:
        """With ``prefix`` in place of the service's name."""
        if prefix is None or not prefix.strip("/"):
            return self.endpoint_address
        return f"{prefix.strip('/')}/{endpoint_name(self.name)}"


@dataclass(slots=True)
class ServiceModel:
    name: str
    endpoints: tuple[EndpointModel, ...]
    docstring: str | None = None

    @classmethod
    def parse(cls, value: Any) -> "ServiceModel":
        """:param value: a ``@service`` class, one with its types (``Service[int]``), or an instance of either.
        :raises TypeError: if no class of it is a service.
        """
        declared = DeclaredType.parse(_class_of(value))
        services = [base for base in declared.mro if is_service(base.type)]
        if not services:
            raise TypeError(f"{declared.name} is no service: decorate the class with @service")
        model = cls(convert_name(services[0].type.__name__), (), _docstring(services[0].type))
        found: dict[str, EndpointModel] = {}
        for base in reversed(services):
            for name, endpoint in _declared_in(base):
                endpoint.service_model = model
                found[name] = endpoint
        model.endpoints = tuple(found.values())
        return model

    def __getitem__(self, name: str) -> EndpointModel:
        """:raises KeyError: for a name that is no endpoint."""
        for one in self.endpoints:
            if one.name == name:
                return one
        raise KeyError(name)


def _declared_in(base: DeclaredType) -> Iterator[tuple[str, EndpointModel]]:
    for name, member in vars(base.type).items():
        if endpoint_attributes(member) is not None:
            parsed = EndpointModel.parse(member, base.type_map, owner=base.type)
            if parsed is not None:
                parsed.name = name
                yield name, parsed


def _class_of(value: Any) -> Any:
    if isinstance(value, type) or get_origin(value) is not None:
        return value
    return getattr(value, "__orig_class__", type(value))


def _docstring(cls: type) -> str | None:
    return cls.__dict__.get("__doc__")
