"""What went wrong at Gemini's API, in a sentence that tells what to do; never with the key in it."""

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import httpx2
from google.genai.errors import APIError

from greenroom.bindings.failure_text import causes, one_line
from greenroom.bindings.retrying import retry_after_s
from greenroom.errors import BindingFailed

_BUSY = (408, 409)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_KEY_LIKE = re.compile(r"\bAIza[\w-]{8,}")


@dataclass(frozen=True, slots=True)
class Failures:
    host: str
    key: str | None
    read_timeout_s: float

    def clean(self, text: str) -> str:
        """One short line without the key. A web page becomes its title."""
        return one_line(text, self.key, _KEY_LIKE)

    def no_key(self) -> BindingFailed:
        return BindingFailed(f"{self.host} wants an API key and none is configured for it: set GEMINI_API_KEY")

    def of_api(self, error: APIError, model: str) -> BindingFailed:
        """``details`` holds ``status``, and ``retry_after_s`` where the server named it."""
        said = self.clean(str(error.message or ""))
        details: dict[str, Any] = {"status": error.code}
        wait_s = _retry_after_s(error)
        if wait_s is not None:
            details["retry_after_s"] = wait_s
        retryable = False
        bad_key = "api key" in said.lower() or "API_KEY_INVALID" in repr(error.details)
        match error.code:
            case 400 | 401 | 403 if bad_key or error.code == 401:
                if self.key is None:
                    return self.no_key()
                sentence = f"{self.host} refused the API key: check GEMINI_API_KEY"
            case 403:
                sentence = f"{self.host} does not allow this: {said}"
            case 404 if "model" in said.lower():
                sentence = f"{self.host} does not have the model {model!r}: {said}"
            case 404 | 405:
                sentence = f"{self.host} has no such path: is base_url right? It ends before /v1"
            case 413:
                sentence = f"{self.host} finds the request too large: {said}"
            case 429:
                when = f" in {wait_s:g} s" if wait_s is not None else " later"
                sentence = f"{self.host} limits how often it is asked; try again{when}: {said}"
                retryable = True
            case 503:
                sentence = f"{self.host} is overloaded, try again later: {said}"
                retryable = True
            case code if isinstance(code, int) and (code >= 500 or code in _BUSY):
                sentence = f"{self.host} failed with status {code}: {said or 'no reason given'}"
                retryable = True
            case code if isinstance(code, int) and 300 <= code < 400:
                sentence = f"{self.host} redirects elsewhere: set base_url to where the server really is"
            case _:
                sentence = f"{self.host} refused the request ({error.code}): {said or 'no reason given'}"
        return BindingFailed(sentence, details=details, retryable=retryable)

    def of_transport(self, error: httpx2.HTTPError, *, answering: bool) -> BindingFailed:
        for cause in causes(error):
            match cause:
                case socket.gaierror():
                    return BindingFailed(f"the name of {self.host} cannot be resolved: check base_url and the network")
                case ssl.SSLError():
                    reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
                    return BindingFailed(f"no secure connection to {self.host}: {self.clean(reason)}")
                case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
                    return BindingFailed(f"{self.host} did not accept the connection in time", retryable=True)
                case httpx2.TimeoutException():
                    sentence = f"{self.host} has sent nothing for {self.read_timeout_s:g} s"
                    return BindingFailed(sentence, retryable=True)
        if isinstance(error, httpx2.ConnectError):
            return BindingFailed(f"{self.host} cannot be reached: is the network up?", retryable=True)
        if answering:
            return self.cut_off()
        return BindingFailed(f"{self.host} closed the connection without an answer", retryable=True)

    def cut_off(self) -> BindingFailed:
        return BindingFailed(f"the answer of {self.host} was cut off", retryable=True)

    def nonsense(self, what: str) -> BindingFailed:
        return BindingFailed(f"{self.host} answered with {what}: is base_url right?")


def _retry_after_s(error: APIError) -> float | None:
    """As ``RetryInfo`` among the error's details says it, else the answer's headers."""
    body = error.details if isinstance(error.details, dict) else {}
    inner = body.get("error", body)
    for detail in inner.get("details") or () if isinstance(inner, dict) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and (found := _SECONDS.fullmatch(delay)):
            return float(found[1])
    headers = getattr(error.response, "headers", None)
    return retry_after_s(headers) if headers is not None else None
