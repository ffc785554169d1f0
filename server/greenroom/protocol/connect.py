"""What a Socket.IO client says of itself as it connects: the ``auth`` of the handshake."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenroom.errors import BadRequest
from greenroom.protocol.commands import validation_problem
from greenroom.protocol.fields import Name, ShortText


class ConnectAuth(BaseModel):
    """All of it is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[str, Field(max_length=4096, description="where the server has tokens")] | None = None
    session: Annotated[Name, Field(description="the session to act on, and to hear from now on")] | None = None
    role: Annotated[ShortText, Field(description="ask for less than the token allows")] | None = None
    epoch: Annotated[ShortText, Field(description="of the session_joined that last_seq counts from")] | None = None
    last_seq: Annotated[int, Field(ge=0, description="number of the last event received")] | None = None
    plays: Annotated[bool, Field(description="this client plays the voice")] | None = None
    debug: Annotated[bool, Field(description="also send prompt_built")] | None = None
    client: Annotated[ShortText, Field(description="name/version")] | None = None

    @classmethod
    def parse(cls, data: Any) -> "ConnectAuth":
        """:raises BadRequest: naming the field and what it wanted."""
        if data is None or data == "":
            return cls()
        if not isinstance(data, dict):
            raise BadRequest("auth: wanted an object")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise validation_problem("auth", error) from None
