"""How Python names become names in a URL.

IMyService -> my-service    TortoiseTTS -> tortoise-tts    IoService -> io-service    select_all -> select-all
"""

import re
from typing import Final

_INTERFACE_PREFIX: Final = re.compile(r"^I(?=[A-Z])")
_INTERFACE_SUFFIX: Final = re.compile(r"Interface$")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def convert_name(s: str) -> str:
    """The service name of a class name. The name alone decides: ``Interface`` itself stays ``interface``."""
    bare = _INTERFACE_PREFIX.sub("", s)
    bare = _INTERFACE_SUFFIX.sub("", bare) or bare
    return _HUMP.sub("-", bare).lower()


def endpoint_name(function_name: str) -> str:
    return function_name.replace("_", "-")
