"""Waiting until a server answers."""

import time
from typing import Final

import httpx

from greenroom.rpc.client.options import ClientOptions, Target

POLL_S: Final = 0.01


class ApiUtils:
    @staticmethod
    def wait_for_reply(url: str, time_in_seconds: float, endpoint_name: str = "", *, secret: str = "") -> None:
        """Asks until the answer is 200.

        :param url: of anything that answers a GET, as ``http://127.0.0.1:8080`` or ``unix:/path``
        :param endpoint_name: what the error calls it; the URL without it
        :raises ValueError: if it does not in time; the message says whether it could be reached at all
        """
        name = endpoint_name or url
        target = Target.of(url)
        options = ClientOptions(secret=secret)
        transport = httpx.HTTPTransport(uds=target.uds or None)
        deadline = time.monotonic() + time_in_seconds
        status = 0
        with httpx.Client(transport=transport, headers=options.all_headers, timeout=max(time_in_seconds, 0.1)) as http:
            while True:
                try:
                    status = http.get(target.http).status_code
                except httpx.TransportError:
                    status = 0
                if status == 200:
                    return
                if time.monotonic() >= deadline:
                    break
                time.sleep(POLL_S)
        if status:
            raise ValueError(f"Endpoint {name} returned bad status code {status}")
        raise ValueError(f"Endpoint {name} was not reacheable within {time_in_seconds:g} seconds")
