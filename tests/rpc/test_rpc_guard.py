"""Who may call."""

import pickle
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from fakes.rpc_services import Wide, WideApi, wide
from greenroom.rpc import ApiError, ApiUtils, Server, ServiceComponent

SECRET = "open-sesame"  # noqa: S105 -- of a server that is gone in a moment


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with wide() as (_, base_url):
        yield base_url


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with Server(0, ServiceComponent(Wide()), secret=SECRET).running() as base_url:
        yield base_url


def test_without_the_secret_nothing_is_served(locked: str) -> None:
    for secret in ("", "wrong", SECRET + "x"):
        api = WideApi(locked, secret=secret)
        with pytest.raises(ApiError) as caught:
            api.fetch(1)
        assert caught.value.status == 401
        with pytest.raises(ApiError) as caught:
            api.ws_plain(1)
        assert caught.value.status == 401
        api.client.close()
    answer = httpx.get(f"{locked}/nothing")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_with_the_secret_everything_is(locked: str) -> None:
    api = WideApi(locked, secret=SECRET)
    assert api.fetch(1) == 1
    assert api.ws_plain(1) == "1 None"
    api.client.close()


def test_the_probes_need_no_secret(locked: str) -> None:
    ApiUtils.wait_for_reply(locked, 10)
    ApiUtils.wait_for_reply(f"{locked}/heartbeat", 10)
    with pytest.raises(ValueError, match="401"):
        ApiUtils.wait_for_reply(f"{locked}/wide/fetch/1", 0)
    ApiUtils.wait_for_reply(f"{locked}/wide/fetch/1", 0, secret=SECRET)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost"])
def test_pages_of_others_may_not_call(url: str, origin: str) -> None:
    headers = {"origin": origin}
    assert httpx.post(f"{url}/wide/nothing", headers=headers).status_code == 403
    with pytest.raises(InvalidStatus) as caught, connect(f"ws{url[4:]}/wide/ws-plain/1", origin=Origin(origin)):
        pass
    assert caught.value.response.status_code == 403


def test_the_servers_own_pages_may(url: str) -> None:
    assert httpx.post(f"{url}/wide/nothing", headers={"origin": url}).status_code == 200


def test_other_pages_and_names_can_be_let_in() -> None:
    server = Server(0, ServiceComponent(Wide()), origins=("https://app.example",), hosts=("house.example",))
    with server.running() as url:
        assert httpx.post(f"{url}/wide/nothing", headers={"origin": "https://app.example"}).status_code == 200
        assert httpx.post(f"{url}/wide/nothing", headers={"host": "house.example:80"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_rebound_name_is_refused(url: str, host: str) -> None:
    answer = httpx.post(f"{url}/wide/nothing", headers={"host": host})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:80", "LOCALHOST"])
def test_the_names_of_this_machine_are_known(url: str, host: str) -> None:
    assert httpx.post(f"{url}/wide/nothing", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_strangers_are_let_in_only_on_purpose(host: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        Server(8080, host=host)
    Server(8080, host=host, secret=SECRET)
    Server(8080, host=host, insecure=True)


def test_on_an_open_address_any_name_will_do() -> None:
    with Server(0, ServiceComponent(Wide()), host="0.0.0.0", insecure=True).running() as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx.post(f"{url}/wide/nothing", headers={"host": "box.example"}).status_code == 200


def test_a_server_listens_on_one_thing() -> None:
    for given in ({"port": None}, {"port": 1, "uds": "x"}):
        with pytest.raises(ValueError, match="a port or on a unix socket"):
            Server(**given)


def test_a_server_can_be_pickled() -> None:
    server = pickle.loads(pickle.dumps(Server(0, ServiceComponent(Wide(), "x"), secret=SECRET)))  # noqa: S301 -- ours
    with server.running() as url:
        api = WideApi(url, custom_prefix="x", secret=SECRET)
        assert api.fetch(1) == 1
        api.client.close()
