from pathlib import Path

import pytest

from greenroom.config import ConfigError, Secrets, read_dotenv
from greenroom.config.confidential import has_password, is_secret_key, without_password

DOTENV = """\
# keys
OPENAI_API_KEY=sk-1
export FISH_API_KEY = 'a # b'   # quoted
EMPTY=
SPACED=a value # with a comment
HASH=a#b
URL=postgresql://a:b@c/d?x=1
ESCAPED="a\\nb \\"c\\" \\x"
index_root=models/rvc

not a variable
OPEN="never closed
"""


def test_a_dotenv_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(DOTENV, encoding="utf-8")
    values, warnings = read_dotenv(path)
    assert values == {
        "OPENAI_API_KEY": "sk-1",
        "FISH_API_KEY": "a # b",
        "EMPTY": "",
        "SPACED": "a value",
        "HASH": "a#b",
        "URL": "postgresql://a:b@c/d?x=1",
        "ESCAPED": 'a\nb "c" \\x',
        "index_root": "models/rvc",
    }
    assert warnings == [f".env, line {line}: wanted NAME=value; the line is ignored" for line in (11, 12)]


def test_no_file_and_a_broken_one(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == ({}, [])
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match=r"\.env, line 1: is not UTF-8"):
        read_dotenv(tmp_path / ".env")


def test_the_environment_comes_first_and_nothing_prints_a_value() -> None:
    secrets = Secrets({"A": "1", "B": ""}, {"A": "2", "B": "3", "C": ""})
    assert (secrets.get("A"), secrets.get("B"), secrets.get("C"), secrets.get("D")) == ("1", "3", None, None)
    assert secrets.environment() == {"A": "1", "B": "3", "C": ""}
    assert repr(secrets) == "Secrets(2 variables, 3 in .env)"


@pytest.mark.parametrize(
    "name",
    ["api_key", "OPENAI_API_KEY", "apikey", "token", "access_token", "password", "client_secret", "Authorization"],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_key(name)


@pytest.mark.parametrize("name", ["api_key_env", "max_tokens", "eos_token", "f0_up_key", "monkey", "keyboard", "model"])
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret_key(name)


def test_passwords_in_urls() -> None:
    assert has_password("postgresql://a:b@c/d")
    assert has_password("https://c/d?x=1&api_key=k")
    assert not has_password("http://localhost:8080/v1")
    assert not has_password("https://a@c/d?api_key=")
    assert not has_password("http://[")
    assert not has_password("just text: with @ signs")
    assert without_password("see postgresql://a:b@c/d") == "see postgresql://a:***@c/d"
