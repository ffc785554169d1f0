"""What only the owner may set over the wire: URLs, paths and commands, as a binding's options mark them."""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from greenroom.bindings.roles import AnyOperation
from greenroom.config.confidential import is_secret_key, without_password
from greenroom.errors import Forbidden
from greenroom.values import Access


def reserved(operation: type[AnyOperation], options: Mapping[str, Any]) -> list[str]:
    """Those of the options that only the owner may set: the ones marked so, and where a binding takes any, the others
    that it does not declare."""
    fields = operation.Options.model_fields
    takes_any = operation.Options.model_config.get("extra") == "allow"
    return [name for name in options if (_is_owners(fields[name]) if name in fields else takes_any)]


def _is_owners(field: FieldInfo) -> bool:
    return isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("access") == "owner"


def without_secrets(value: Any) -> Any:
    """Options as they may be shown to others: a secret has no place in them, but somebody may have put one there."""
    if isinstance(value, Mapping):
        return {
            name: "***" if isinstance(inner, str) and inner and is_secret_key(str(name)) else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return without_password(value) if isinstance(value, str) and "://" in value else value


def check_options(operation: type[AnyOperation], options: Mapping[str, Any], access: Access, binding_id: str) -> None:
    """:raises Forbidden: naming the options that need the owner."""
    if access >= Access.OWNER:
        return
    guarded = reserved(operation, options)
    if guarded:
        raise Forbidden(f"{binding_id}: only the owner may set {', '.join(guarded)}", details={"fields": guarded})
