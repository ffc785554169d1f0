"""What went wrong at KoboldCPP, in a sentence that tells what to do."""

import json
from typing import Any

import aiohttp

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.failure_text import one_line
from greenroom.errors import BindingFailed

from .server import KoboldServer


class Failures:
    def __init__(self, server: KoboldServer, password: str | None, read_timeout_s: float) -> None:
        self._server = server
        self._password = password
        self._read_timeout_s = read_timeout_s

    def clean(self, text: str) -> str:
        """One short line without the password. A web page becomes its title."""
        return one_line(text, self._password)

    def of_status(self, status: int, body: str, path: str) -> BindingFailed:
        name = self._server.name
        said = self.clean(_message(body))
        retryable = False
        match status:
            case 401 | 403 if self._password:
                sentence = f"{name} refused the password: check KOBOLD_PASSWORD"
            case 401 | 403:
                sentence = f"{name} wants a password and none is configured for it: {self._server.locked_help}"
            case 404 | 405:
                sentence = f"{name} has no {path}: is url right, and is KoboldCPP of 2024 or later?"
            case 413:
                sentence = f"{name} finds the request too large: {said}"
            case 429 | 503:
                sentence = f"{name} is busy, try again later: {said or 'no reason given'}"
                retryable = True
            case _ if 300 <= status < 400:
                sentence = f"{name} redirects elsewhere: set url to where KoboldCPP really is"
            case _ if status >= 500:
                sentence = f"{name} failed with status {status}: {said or 'no reason given'}"
                retryable = "bad_input" not in body
            case _:
                sentence = f"{name} refused the request ({status}): {said or 'no reason given'}"
        return BindingFailed(sentence, details={"status": status}, retryable=retryable)

    def of_connection(self, error: aiohttp.ClientError | TimeoutError) -> BindingFailed:
        """Before any answer came."""
        match error:
            case aiohttp.ConnectionTimeoutError():
                return self._server.failed("did not accept the connection in time")
            case TimeoutError():
                return self.silent()
            case aiohttp.ClientConnectorDNSError():
                return BindingFailed(f"the name of {self._server.name} cannot be resolved: check url and the network")
            case aiohttp.ClientConnectorError():
                return self._server.failed("cannot be reached: is it running? Set url, or kobold_filepath to start it")
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
                return self._server.failed("closed the connection without an answer")
            case _:
                return self.nonsense("something that is not HTTP")

    def of_stream(self, error: aiohttp.ClientError | TimeoutError) -> BindingFailed:
        """While the answer was coming."""
        return self.silent() if isinstance(error, TimeoutError) else self.cut_off()

    def silent(self) -> BindingFailed:
        return BindingFailed(f"{self._server.name} has sent nothing for {self._read_timeout_s:g} s", retryable=True)

    def cut_off(self) -> BindingFailed:
        return self._server.failed("broke off in the middle of its answer")

    def nonsense(self, what: str) -> BindingFailed:
        return BindingFailed(f"{self._server.name} answered with {what}: is url right?")


def _message(body: str) -> str:
    try:
        parsed: Any = json.loads(body)
    except ValueError:
        return body
    return error_message(parsed)
