"""What went wrong at Azure, in a sentence that tells what to do; never with the key in it."""

import re
from dataclasses import dataclass
from typing import Any

from greenroom.errors import BindingFailed

from .account import KEY, REGION, Account

_MAX_MESSAGE = 300
_NOISE = re.compile(r"\s*(USP state:|SessionId:|X-ConnectionId:|Content-Type:|wss?://|\[CALL STACK).*", re.DOTALL)
_CLOSED = re.compile(r"remote host\. Error code: (\d+)\.(?: Error details: (.*))?", re.DOTALL)
_BAD_DATA = "1007"
"""the close code by which the service refuses what it was sent"""


@dataclass(frozen=True, slots=True)
class Failures:
    account: Account
    read_timeout_s: float

    def clean(self, text: str) -> str:
        """One short line without the key and without the SDK's own notes."""
        text = " ".join(_NOISE.sub("", text).split())
        if self.account.key:
            text = text.replace(self.account.key, "***")
        return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + " ..."

    def of_cancellation(self, code: str, details: str) -> BindingFailed:
        """``code``: the name of the SDK's ``CancellationErrorCode``."""
        name = self.account.name
        closed = _CLOSED.search(_NOISE.sub("", details))
        said = self.clean((closed[2] or "") if closed else details)
        match code:
            case "AuthenticationFailure" if self.account.key is None:
                return BindingFailed(f"{name} wants a key and none is configured for it: set {KEY}")
            case "AuthenticationFailure":
                return BindingFailed(
                    f"{name} refused the key: check {KEY}, and that it belongs to the region of {REGION} or region"
                )
            case "Forbidden":
                return BindingFailed(f"the account's quota at {name} is used up: {said}")
            case "TooManyRequests":
                return BindingFailed(f"{name} limits how often it is asked; try again later: {said}", retryable=True)
            case _ if closed and "quota" in said.lower():
                return BindingFailed(f"the account's quota at {name} is used up: {said}")
            case "BadRequest":
                return BindingFailed(f"{name} refused the request: {said or 'no reason given'}")
            case _ if closed and closed[1] == _BAD_DATA:
                return BindingFailed(f"{name} refused the request: {said or 'no reason given'}")
            case _ if closed:
                return BindingFailed(f"the answer of {name} was cut off: {said or 'no reason given'}", retryable=True)
            case "ConnectionFailure":
                return BindingFailed(f"{name} cannot be reached: check the network, the region or host", retryable=True)
            case "ServiceTimeout":
                return self.silent()
            case "ServiceUnavailable":
                return BindingFailed(f"{name} is not available at the moment", retryable=True)
            case "ServiceError" if "(404)" in details:
                return BindingFailed(f"{name} does not serve {self.account.service}: are region, host, endpoint right?")
            case _:
                return BindingFailed(f"{name} failed: {said or 'no reason given'}", retryable=code == "ServiceError")

    def of_canceled(self, cancellation: Any) -> BindingFailed:
        """From the SDK's details of a synthesis or a recognition that ended early."""
        code = getattr(cancellation, "error_code", None) or cancellation.code
        return self.of_cancellation(str(code.name), str(cancellation.error_details or ""))

    def silent(self) -> BindingFailed:
        return BindingFailed(f"{self.account.name} has sent nothing for {self.read_timeout_s:g} s", retryable=True)
