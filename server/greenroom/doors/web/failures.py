"""What goes wrong over HTTP outside of any door's own words: nothing there, wrong method, a fault of ours."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from greenroom.errors import BadRequest, Internal

NOTHING_HERE: Mapping[str, Any] = {"success": False, "error": "there is nothing here", "code": "not_found"}


def failure(code: str, message: str, status: int) -> JSONResponse:
    return JSONResponse({"success": False, "error": message, "code": code}, status)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return JSONResponse(NOTHING_HERE, 404)
    if status == 405:
        answer = failure(BadRequest.code, f"{request.method} is not served here", 405)
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)
        return answer
    return failure(BadRequest.code, "this request is not served", status)


async def _internal_error(request: Request, error: Exception) -> Response:
    return failure(Internal.code, "something went wrong here; the log says what", 500)


def error_handlers() -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """For a Starlette application."""
    return {HTTPException: _http_error, 500: _internal_error}
