"""The generated reference is current, complete, and a sound AsyncAPI 3 document."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from greenroom.protocol.asyncapi import asyncapi, error_codes, render_asyncapi
from greenroom.protocol.commands import COMMANDS, parse_command
from greenroom.protocol.events import AudioChunk, Sentence, TextChunk, all_events, payload
from greenroom.protocol.reference import render_page, write

DOCS = Path(__file__).parents[2] / "docs"
HOW = "run: python -m greenroom.protocol.reference docs"


def test_the_written_reference_is_current(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("asyncapi.yaml", "protocol.md"):
        assert (DOCS / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8"), HOW


def test_everything_that_crosses_the_wire_is_in_it() -> None:
    page, document = render_page(), asyncapi()
    for name in [*COMMANDS, *all_events()]:
        assert f"### `{name}`" in page
    assert {f"command.{name}" for name in COMMANDS} | {f"event.{name}" for name in all_events()} <= set(
        document["operations"]
    )
    for kind in error_codes():
        assert f"- `{kind.code}`" in page


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def resolve(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/")
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_the_document_is_sound() -> None:
    document = yaml.safe_load(render_asyncapi())
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for server in document["servers"].values():
        assert {"host", "protocol"} <= set(server)
    for node in walk(document):
        if isinstance(node.get("$ref"), str):
            resolve(document, node["$ref"])
    channel = document["channels"]["root"]
    used = set()
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert resolve(document, operation["channel"]["$ref"]) is channel
        for message in [*operation["messages"], *operation.get("reply", {}).get("messages", [])]:
            # an operation's messages are the channel's, not the components'
            assert message["$ref"].startswith("#/channels/root/messages/")
            used.add(message["$ref"].rsplit("/", 1)[1])
    assert used == set(channel["messages"]) == set(document["components"]["messages"])


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(asyncapi()))
    return document


def validate(document: dict[str, Any], message: str, value: object) -> None:
    schema = {**document["components"]["messages"][message]["payload"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_the_schemas_are_schemas(schemas: dict[str, Any]) -> None:
    for message in schemas["components"]["messages"].values():
        jsonschema.Draft202012Validator.check_schema(message["payload"])
    for schema in schemas["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("response", {"text": "hi"}),
        ("context_add", {"kind": "chat", "user": "a", "content": "b"}),
        ("operation_load", {"ops": [{"role": "t2t", "id": "eliza"}]}),
        ("generate_text", {"prompt": "x", "parameters": {"top_k": 3}}),
        ("activate_personality", {"id": 2}),
    ],
)
def test_what_the_schemas_allow_is_accepted(schemas: dict[str, Any], event: str, data: dict[str, Any]) -> None:
    validate(schemas, f"command.{event}", data)
    parse_command(event, data)
    with pytest.raises(jsonschema.ValidationError):
        validate(schemas, f"command.{event}", {**data, "no_such_member": 1})


def test_what_is_sent_fits_the_schemas(schemas: dict[str, Any]) -> None:
    envelope = {"session": "main", "seq": 3}
    validate(schemas, "event.text_chunk", {**payload(TextChunk(chunk="a")), **envelope})
    sentence = Sentence(index=0, text="a", speech="a", extras={"emotion": "joy"})
    validate(schemas, "event.sentence", {**payload(sentence), **envelope})
    chunk = AudioChunk(index=0, part=0, audio=b"", sr=1, sw=2, ch=1, t_ms=0, duration_ms=0, volumes=[])
    validate(schemas, "event.audio_chunk", {**payload(chunk), **envelope, "audio": "binary stands here"})
    with pytest.raises(jsonschema.ValidationError):
        validate(schemas, "event.text_chunk", payload(TextChunk(chunk="a")))
    validate(schemas, "acknowledgement", {"success": True, "job_id": "x"})
    validate(schemas, "acknowledgement", {"success": False, "error": "no", "code": "busy"})
