"""What went wrong at an OpenAI-compatible server, in a sentence that tells what to do; never with the key in it."""

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from openai import APIConnectionError, APIStatusError

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.failure_text import causes, one_line
from greenroom.bindings.retrying import retry_after_s
from greenroom.errors import BindingFailed

_BUSY = (408, 409)
_KEY_LIKE = re.compile(r"\bsk-[\w*.-]{4,}")


@dataclass(frozen=True, slots=True)
class Failures:
    host: str
    """host and port as messages name them"""
    key: str | None
    read_timeout_s: float

    def clean(self, text: str) -> str:
        """One short line without the key. A web page becomes its title."""
        return one_line(text, self.key, _KEY_LIKE)

    def no_key(self) -> BindingFailed:
        return BindingFailed(f"{self.host} wants an API key and none is configured for it: set OPENAI_API_KEY")

    def of_status(self, error: APIStatusError, path: str, model: str) -> BindingFailed:
        status = error.status_code
        body: Any = error.body
        said = self.clean(error_message(body) or error.response.text)
        code = body.get("code") if isinstance(body, dict) else None
        details: dict[str, Any] = {"status": status}
        if isinstance(body, dict) and body.get("param"):
            details["param"] = str(body["param"])
        wait_s = retry_after_s(error.response.headers)
        if wait_s is not None:
            details["retry_after_s"] = wait_s
        retryable = False
        match status:
            case 401 if self.key is None:
                return self.no_key()
            case 401:
                sentence = f"{self.host} refused the API key: check OPENAI_API_KEY"
            case 403:
                sentence = f"{self.host} does not allow this: {said}"
            case 404 if code == "model_not_found" or "model" in said.lower():
                sentence = (
                    f"{self.host} does not have the model {model!r}: {said}; "
                    "`greenroom list models openai` shows what it has"
                )
            case 404 | 405:
                sentence = f"{self.host} has no {path}: is base_url right? It usually ends in /v1"
            case 413:
                sentence = f"{self.host} finds the request too large: {said}"
            case 429 if code == "insufficient_quota":
                sentence = f"the account's quota at {self.host} is used up: {said}"
            case 429:
                when = f" in {wait_s:g} s" if wait_s is not None else " later"
                sentence = f"{self.host} limits how often it is asked; try again{when}: {said}"
                retryable = True
            case _ if status >= 500 or status in _BUSY:
                sentence = f"{self.host} failed with status {status}: {said or 'no reason given'}"
                retryable = True
            case _ if 300 <= status < 400:
                target = urlsplit(error.response.headers.get("location", "")).netloc or "another address"
                sentence = f"{self.host} redirects to {target}: set base_url to where the server really is"
            case _:
                sentence = f"{self.host} refused the request ({status}): {said or 'no reason given'}"
        return BindingFailed(sentence, details=details, retryable=retryable)

    def of_connection(self, error: APIConnectionError) -> BindingFailed:
        """Before any answer came."""
        behind = list(causes(error))
        for cause in behind:
            match cause:
                case socket.gaierror() | aiohttp.ClientConnectorDNSError():
                    return BindingFailed(f"the name of {self.host} cannot be resolved: check base_url and the network")
                case ssl.SSLError() if not isinstance(cause, aiohttp.ClientError):  # those hold the real one
                    reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
                    return BindingFailed(f"no secure connection to {self.host}: {self.clean(reason)}")
                case aiohttp.ConnectionTimeoutError():
                    return BindingFailed(f"{self.host} did not accept the connection in time", retryable=True)
                case aiohttp.ServerTimeoutError():
                    return self.silent()
        if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in behind):
            if any(isinstance(cause, ConnectionResetError) for cause in behind):
                return BindingFailed(f"{self.host} hung up while the connection was made: is it http, not https?")
            return BindingFailed(f"{self.host} cannot be reached: is the server running?", retryable=True)
        return BindingFailed(f"{self.host} closed the connection without an answer", retryable=True)

    def of_stream(self, error: BaseException) -> BindingFailed:
        """While the answer was coming."""
        late = any(isinstance(cause, aiohttp.ServerTimeoutError) for cause in causes(error))
        return self.silent() if late else self.cut_off()

    def silent(self) -> BindingFailed:
        return BindingFailed(f"{self.host} has sent nothing for {self.read_timeout_s:g} s", retryable=True)

    def cut_off(self) -> BindingFailed:
        return BindingFailed(f"the answer of {self.host} was cut off", retryable=True)

    def nonsense(self, what: str) -> BindingFailed:
        return BindingFailed(f"{self.host} answered with {what}: is base_url right?")


def hung_up(error: BaseException) -> bool:
    """The server closed the connection with no answer, as with a kept one that it gave up just as it was used again."""
    for cause in causes(error):
        if isinstance(cause, aiohttp.ServerTimeoutError | aiohttp.ClientConnectorError | ssl.SSLError):
            return False
        if isinstance(cause, aiohttp.ClientConnectionError | ConnectionError):
            return True
    return False
