"""``/openapi.json``: sound, complete, and true of the server that gives it (schemathesis asks it of every endpoint)."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from fakes.jaison_clients import Rest
from fakes.jaison_server import JaisonServer, jaison_server
from greenroom.doors.rest.bodies import members
from greenroom.doors.rest.endpoints import CANCEL, ENDPOINTS
from greenroom.doors.rest.openapi import openapi

EXAMPLES = 12
CHECKS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.positive_data_acceptance,
)


def test_it_has_every_endpoint_with_an_example_that_its_own_schema_takes() -> None:
    document = openapi(tokens=True)
    assert document["openapi"] == "3.1.0"
    for endpoint in (*ENDPOINTS, CANCEL):
        operation = document["paths"][f"/{endpoint.path}"][endpoint.method.lower()]
        media = operation["requestBody"]["content"]["application/json"]
        assert media["example"] == members(endpoint.example)
        schema = {**media["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(media["example"])
        assert endpoint.command(media["example"])
        for status, answer in operation["responses"].items():
            found = answer["content"]["application/json"]
            if status == "200":
                schema = {**found["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(found["example"])
    assert set(document["paths"]["/context/custom"]) == {"put", "post", "delete"}
    assert document["security"] == [{"token": []}]
    assert "security" not in openapi(tokens=False)


def ask_everything(url: str) -> int:
    """-> operations asked"""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    asked = 0
    for found in schema.get_all_operations():
        operation: Any = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                # What is to be cancelled does not exist, which is a 400 as jaison has it.
                unknown = case.path == "/job"
                wanted = [check for check in CHECKS if not (unknown and check is checks.positive_data_acceptance)]
                case.call_and_validate(checks=wanted)

            check()
        asked += 1
    return asked


async def test_what_it_says_is_true(tmp_path: Path) -> None:
    async with jaison_server(tmp_path / "home") as server:
        asked = await asyncio.to_thread(ask_everything, server.url)
        assert asked == len(ENDPOINTS) + 3
        await still_works(server)


async def still_works(server: JaisonServer) -> None:
    rest = Rest(server.url)
    assert (await rest("GET", "operations")).status_code == 200
    rest.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_it_is_served(tmp_path: Path, method: str) -> None:
    async with jaison_server(tmp_path / "home") as server, httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.request(method, "/openapi.json")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        if method == "GET":
            assert answer.json() == openapi(tokens=False)
