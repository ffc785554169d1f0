"""``{{date}}`` and its kin, computed when a text is used: a server that runs for days does not live in the past."""

import re
from collections.abc import Mapping
from datetime import datetime

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_TIMES = {
    "date": "%A, %B %d, %Y",
    "time": "%H:%M:%S",
    "date_time": "%A, %B %d, %Y %I:%M:%S %p",
}


def fill(
    text: str, *, user: str = "", char: str = "", now: datetime | None = None, more: Mapping[str, str] | None = None
) -> str:
    """Unknown ones are left as they are, and what is put in is not looked through again.

    ``now``: local time; the present moment if ``None``. ``more``: further placeholders, which win over these.
    """
    if "{{" not in text:
        return text
    moment = now or datetime.now().astimezone()
    names = {"user": user, "char": char, "user_name": user, "character": char, **(more or {})}

    def value(found: re.Match[str]) -> str:
        key = found[1].casefold()
        if key in names:
            return names[key] or found[0]
        if key in _TIMES:
            return moment.strftime(_TIMES[key])
        return found[0]

    return _PLACEHOLDER.sub(value, text)
