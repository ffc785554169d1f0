"""What went wrong at a service on the web, in a sentence that tells what to do; never with the key in it."""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenroom.bindings.failure_text import causes, one_line
from greenroom.bindings.retrying import retry_after_s
from greenroom.errors import BindingFailed


@dataclass(frozen=True, slots=True)
class ServiceFailures:
    host: str
    """host and port as messages name them"""
    key_name: str
    """the variable that holds the key"""
    key: str | None
    read_timeout_s: float
    address_option: str = "base_url"

    def clean(self, text: str) -> str:
        """One short line without the key. A web page becomes its title."""
        return one_line(text, self.key)

    def of_status(self, status: int, said: str, headers: Mapping[str, Any] | None = None) -> BindingFailed:
        """A reply other than 200, or 101 where a websocket was asked for. ``details`` holds ``status``, and
        ``retry_after_s`` where the service named it."""
        said = self.clean(said) or "no reason given"
        details: dict[str, Any] = {"status": status}
        wait_s = retry_after_s(headers or {})
        if wait_s is not None:
            details["retry_after_s"] = wait_s
        retryable = False
        match status:
            case 401 if self.key is None:
                sentence = f"{self.host} wants an API key and none is configured for it: set {self.key_name}"
            case 401 if "quota" in said.lower():
                sentence = f"the account's quota at {self.host} is used up: {said}"
            case 401:
                sentence = f"{self.host} refused the API key: check {self.key_name}"
            case 402:
                sentence = f"the account's credit at {self.host} is used up: {said}"
            case 403:
                sentence = f"{self.host} does not allow this: {said}"
            case 404 | 405:
                sentence = f"{self.host} does not have what was asked for: {said}; is {self.address_option} right?"
            case 429:
                when = f"in {wait_s:g} s" if wait_s is not None else "later"
                sentence = f"{self.host} limits how often it is asked; try again {when}: {said}"
                retryable = True
            case _ if status >= 500:
                sentence = f"{self.host} failed with status {status}: {said}"
                retryable = True
            case _ if 200 <= status < 400:
                sentence = f"{self.host} answered with status {status}: set {self.address_option} to where it really is"
            case _:
                sentence = f"{self.host} refused the request ({status}): {said}"
        return BindingFailed(sentence, details=details, retryable=retryable)

    def of_connecting(self, error: BaseException) -> BindingFailed:
        """Before any answer came."""
        for cause in causes(error):
            match cause:
                case socket.gaierror():
                    return BindingFailed(
                        f"the name of {self.host} cannot be resolved: check {self.address_option} and the network"
                    )
                case ssl.SSLError():
                    reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
                    return BindingFailed(f"no secure connection to {self.host}: {self.clean(reason)}")
                case TimeoutError():
                    return BindingFailed(f"{self.host} did not accept the connection in time", retryable=True)
        for cause in causes(error):
            match cause:
                case ConnectionResetError() | EOFError():
                    return BindingFailed(f"{self.host} closed the connection without an answer", retryable=True)
                case OSError():
                    return BindingFailed(f"{self.host} cannot be reached: check the network", retryable=True)
        return BindingFailed(f"{self.host} cannot be reached: {self.clean(str(error))}", retryable=True)

    def silent(self) -> BindingFailed:
        return BindingFailed(f"{self.host} has sent nothing for {self.read_timeout_s:g} s", retryable=True)

    def cut_off(self, said: str = "") -> BindingFailed:
        reason = f": {self.clean(said)}" if said else ""
        return BindingFailed(f"the answer of {self.host} was cut off{reason}", retryable=True)

    def nonsense(self, what: str) -> BindingFailed:
        return BindingFailed(f"{self.host} answered with {what}: is {self.address_option} right?")

    def no_sound(self) -> BindingFailed:
        return BindingFailed(f"{self.host} sent no sound for a text", retryable=True)
