"""What a backend said of a failure, made fit for a sentence; and what is behind an exception."""

import re
from collections.abc import Iterator

_MAX_MESSAGE = 300
_TITLE = re.compile(r"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_DEEPEST = 32


def one_line(text: str, key: str | None = None, key_like: re.Pattern[str] | None = None) -> str:
    """One short line without the key, or what looks like one. A web page becomes its title."""
    if "<html" in text.lower():
        title = _TITLE.search(text)
        text = f"a web page, {title[1].strip()!r}" if title else "a web page"
    text = " ".join(text.split())
    if key:
        text = text.replace(key, "***")
    if key_like is not None:
        text = key_like.sub("***", text)
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + " ..."


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its causes, what groups among them hold, and what aiohttp's hold; the nearest first."""
    pending = [error] if error is not None else []
    for _ in range(_DEEPEST):
        if not pending:
            return
        one = pending.pop(0)
        yield one
        held = getattr(one, "os_error", None) or getattr(one, "certificate_error", None)
        pending += [cause for cause in (held, one.__cause__ or one.__context__) if cause is not None]
        if isinstance(one, BaseExceptionGroup):
            pending.extend(one.exceptions)
