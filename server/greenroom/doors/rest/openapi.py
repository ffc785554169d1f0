"""``/openapi.json``: OpenAPI 3.1 of the REST interface, made from the models that take its bodies."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from greenroom import __version__
from greenroom.doors.rest.bodies import ConfigUpdateBody, members
from greenroom.doors.rest.endpoints import CANCEL, ENDPOINTS, Endpoint
from greenroom.values import Role

_JOB_ID: Final = "5f0c7a3e-6f52-4d3e-9a59-1f4a3f6b0c11"
_FAILURES: Final[Mapping[str, str]] = {
    "400": "The body is not what is wanted",
    "401": "No token, or an unknown one",
    "403": "The token's role or session, or the page's origin, does not allow it",
    "413": "The body, a text or a recording is too large",
    "429": "More requests than are taken from one client; `Retry-After` says when to go on",
    "500": "The server failed; its log tells more",
    "503": "Too many jobs wait, or the server is shutting down",
}


class Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid")
    message: str
    status: int


class Failure(Envelope):
    """``message`` is a sentence for a person."""

    response: dict[str, Any] = Field(json_schema_extra={"maxProperties": 0})


class JobId(BaseModel):
    model_config = ConfigDict(extra="forbid")
    job_id: str = Field(json_schema_extra={"format": "uuid"}, description="of its events on the websocket")


class JobCreated(Envelope):
    """The job is queued; what becomes of it is told on the websocket."""

    response: JobId


class JobCancelled(Envelope):
    response: None


class Operations(BaseModel):
    """The id of what is loaded, ``unknown`` where nothing is; for filters the ids in order."""

    model_config = ConfigDict(extra="forbid")
    embedding: str
    filter_audio: list[str]
    filter_text: list[str]
    mcp: str
    stt: str
    t2t: str
    tts: str


class OperationsLoaded(Envelope):
    response: Operations


class ConfigFields(Envelope):
    """The fields that somebody has written, under jaison's names where it has them, and ``current_config``."""

    response: dict[str, Any]


def openapi(*, tokens: bool) -> dict[str, Any]:
    """:param tokens: the server wants one."""
    answers = (Failure, JobCreated, JobCancelled, OperationsLoaded, ConfigFields)
    bodies = {endpoint.body: None for endpoint in (*ENDPOINTS, CANCEL)}
    _, definitions = models_json_schema(
        [*((body, "validation") for body in bodies), *((answer, "serialization") for answer in answers)],
        ref_template="#/components/schemas/{model}",
    )
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Greenroom: jaison's REST interface",
            "version": __version__,
            "description": "Jobs are queued here; their events come on the websocket at `/` of the same address.",
        },
        "servers": [{"url": "/api"}],
        "paths": _paths(),
        "components": {"schemas": definitions["$defs"]},
    }
    if tokens:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/operations": {
            "get": {
                "operationId": "get_operations",
                "summary": "What is loaded.",
                "parameters": [_SESSION],
                "responses": _responses(OperationsLoaded, "Loaded operations gotten", _example_operations()),
            }
        },
        "/config": {
            "get": {
                "operationId": "get_config",
                "summary": "What somebody has written into the configuration; no defaults.",
                "parameters": [_SESSION],
                "responses": _responses(
                    ConfigFields,
                    "Current config gotten",
                    {"current_config": "evening", "prompter": {"history_length": 80}},
                ),
            }
        },
    }
    for endpoint in (*ENDPOINTS, CANCEL):
        paths.setdefault(f"/{endpoint.path}", {})[endpoint.method.lower()] = _operation(endpoint)
    return paths


_EDGE: Final = r"[^\s/\\\x00-\x1f\x7f\x85]"  # \s is without \x85 where regular expressions are ECMA's
_SESSION_NAME: Final = rf"^({_EDGE}([^/\\\x00-\x1f\x7f]{{0,62}}{_EDGE})?)?$"
_SESSION: Final = {
    "name": "session",
    "in": "query",
    "required": False,
    "description": "name of a session; absent or empty: the default one",
    "schema": {"type": "string", "pattern": _SESSION_NAME},
}


_FIELDS_THEMSELVES: Final = {
    "type": "object",
    "description": "The same without `config_d` around it.",
    "minProperties": 1,
    "not": {"required": ["config_d"]},
}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    required = any(field.is_required() for field in endpoint.body.model_fields.values())
    schema: dict[str, Any] = {"$ref": f"#/components/schemas/{endpoint.body.__name__}"}
    if not required:
        schema = {"anyOf": [schema, {"type": "null"}]}
    elif endpoint.body is ConfigUpdateBody:
        schema = {"anyOf": [schema, _FIELDS_THEMSELVES]}
    body: dict[str, Any] = {
        "required": required,
        "content": {"application/json": {"schema": schema, "example": members(endpoint.example)}},
    }
    if endpoint is CANCEL:
        responses = _responses(JobCancelled, "Job flagged for cancellation", None)
    else:
        responses = _responses(JobCreated, endpoint.message, {"job_id": _JOB_ID})
    described = {
        "operationId": f"{endpoint.method.lower()}_{endpoint.path.replace('/', '_')}",
        "summary": endpoint.summary,
        "parameters": [_SESSION],
        "requestBody": body,
        "responses": responses,
    }
    return {**described, "deprecated": True} if endpoint.deprecated else described


def _responses(answer: type[BaseModel], message: str, response: Any) -> dict[str, Any]:
    good = _content(answer.__name__, {"message": message, "response": response, "status": 200})
    failures = {status: {"description": text, **_content(Failure.__name__, None)} for status, text in _FAILURES.items()}
    return {"200": {"description": "Done" if response is None else message, **good}, **failures}


def _content(schema: str, example: Any) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    if example is not None:
        media["example"] = example
    return {"content": {"application/json": media}}


def _example_operations() -> dict[str, Any]:
    loaded: Iterable[tuple[Role, Any]] = (
        (Role.EMBEDDING, "unknown"),
        (Role.FILTER_AUDIO, []),
        (Role.FILTER_TEXT, ["filter_clean"]),
        (Role.MCP, "unknown"),
        (Role.STT, "pocketsphinx"),
        (Role.T2T, "eliza"),
        (Role.TTS, "espeak"),
    )
    return {str(role): found for role, found in loaded}
