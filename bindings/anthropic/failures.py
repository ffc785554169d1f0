"""What went wrong at Anthropic's API, in a sentence that tells what to do; never with the key in it."""

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import httpx2
from anthropic import APIConnectionError, APIStatusError

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.failure_text import causes, one_line
from greenroom.bindings.retrying import retry_after_s
from greenroom.errors import BindingFailed

_BUSY = (408, 409)
_KEY_LIKE = re.compile(r"\bsk-[\w*.-]{4,}")


@dataclass(frozen=True, slots=True)
class Failures:
    host: str
    key: str | None
    read_timeout_s: float

    def clean(self, text: str) -> str:
        """One short line without the key. A web page becomes its title."""
        return one_line(text, self.key, _KEY_LIKE)

    def no_key(self) -> BindingFailed:
        return BindingFailed(f"{self.host} wants an API key and none is configured for it: set ANTHROPIC_API_KEY")

    def of_status(self, error: APIStatusError, model: str) -> BindingFailed:
        """``details`` holds ``status``, and ``retry_after_s`` where the server named it."""
        status = error.status_code
        said = self.clean(error_message(error.body) or error.response.text)
        details: dict[str, Any] = {"status": status}
        wait_s = retry_after_s(error.response.headers)
        if wait_s is not None:
            details["retry_after_s"] = wait_s
        retryable = False
        match status:
            case 401 if self.key is None:
                return self.no_key()
            case 401:
                sentence = f"{self.host} refused the API key: check ANTHROPIC_API_KEY"
            case 402:
                sentence = f"the account at {self.host} cannot pay for this: {said}"
            case 403:
                sentence = f"{self.host} does not allow this: {said}"
            case 404 if "model" in said.lower():
                sentence = f"{self.host} does not have the model {model!r}: {said}"
            case 404 | 405:
                sentence = f"{self.host} has no /v1/messages: is base_url right? It ends before /v1"
            case 413:
                sentence = f"{self.host} finds the request too large: {said}"
            case 429:
                when = f" in {wait_s:g} s" if wait_s is not None else " later"
                sentence = f"{self.host} limits how often it is asked; try again{when}: {said}"
                retryable = True
            case 529:
                sentence = f"{self.host} is overloaded, try again later: {said}"
                retryable = True
            case _ if status >= 500 or status in _BUSY:
                sentence = f"{self.host} failed with status {status}: {said or 'no reason given'}"
                retryable = True
            case _ if 300 <= status < 400:
                sentence = f"{self.host} redirects elsewhere: set base_url to where the server really is"
            case _:
                sentence = f"{self.host} refused the request ({status}): {said or 'no reason given'}"
        return BindingFailed(sentence, details=details, retryable=retryable)

    def of_connection(self, error: APIConnectionError) -> BindingFailed:
        """Before any answer came."""
        behind = list(causes(error))
        for cause in behind:
            match cause:
                case socket.gaierror():
                    return BindingFailed(f"the name of {self.host} cannot be resolved: check base_url and the network")
                case ssl.SSLError():
                    reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
                    return BindingFailed(f"no secure connection to {self.host}: {self.clean(reason)}")
                case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
                    return BindingFailed(f"{self.host} did not accept the connection in time", retryable=True)
                case httpx2.TimeoutException():
                    return self.silent()
        if any(isinstance(cause, httpx2.ConnectError) for cause in behind):
            return BindingFailed(f"{self.host} cannot be reached: is the network up?", retryable=True)
        return BindingFailed(f"{self.host} closed the connection without an answer", retryable=True)

    def of_stream(self, error: httpx2.HTTPError) -> BindingFailed:
        """While the answer was coming."""
        return self.silent() if isinstance(error, httpx2.TimeoutException) else self.cut_off()

    def silent(self) -> BindingFailed:
        return BindingFailed(f"{self.host} has sent nothing for {self.read_timeout_s:g} s", retryable=True)

    def cut_off(self) -> BindingFailed:
        return BindingFailed(f"the answer of {self.host} was cut off", retryable=True)

    def nonsense(self, what: str) -> BindingFailed:
        return BindingFailed(f"{self.host} answered with {what}: is base_url right?")
