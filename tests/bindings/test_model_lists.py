import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fakes.binding_rig import BINDINGS, Places
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.values import Role

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """A server that answers everything in the same way and hangs up."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("binding", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        HEAD % 100 + b"{",
        HEAD % 1 + b"{",
        HEAD % 5 + b"[1,2]",
        HEAD % 4 + b"null",
        HEAD % 12 + b'{"data":"x"}',
        HEAD % 14 + b'{"models":[1]}',
        HEAD % 12 + b'{"data":[1]}',
    ],
)
async def test_nonsense_in_place_of_a_list_lists_nothing(binding: str, answer: bytes) -> None:
    found = BindingShelf((BINDINGS,)).get(binding)
    operation = found.operation(Role.T2T)
    async with saying(answer) as base_url:
        options = parse_options(operation, {"base_url": base_url}, binding)
        key = f"{binding.upper()}_API_KEY"
        assert not await operation.models(options, Places(secrets={(key, base_url): "k"}).place(found))
