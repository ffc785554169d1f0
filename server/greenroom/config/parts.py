"""What the sections of the schema are made of: their base, the mark of the owner's keys, texts of a certain form."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

OWNER: dict[str, Any] = {"access": "owner"}
"""The mark of a key that only the owner may change over the wire."""

KIB = 1024
MIB = 1024 * KIB
DAY_S = 86_400


SHORT = StringConstraints(min_length=1, max_length=256)
SESSION_NAME = StringConstraints(min_length=1, max_length=64, pattern=r"^[^/\\\x00-\x1f\x7f]+$")
ShortText = Annotated[str, SHORT]
SessionName = Annotated[str, SESSION_NAME]
BindingId = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
OptionalText = Annotated[str, StringConstraints(max_length=1024)]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=False,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        protected_namespaces=(),
    )
