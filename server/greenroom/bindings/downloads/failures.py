"""What can go wrong with a download, as sentences that say what to do."""

import errno
from pathlib import Path
from typing import Final

from greenroom.errors import BindingFailed, GreenroomError, Unavailable

AGAIN: Final = "what has come is kept; run it again and it goes on from there"
_NO_ROOM: Final = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Interruption(Exception):
    """Trying again may help. ``wait_s``: as the server asks; ``None``: it names no time."""

    def __init__(self, sentence: str, wait_s: float | None = None, *, at_once: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.wait_s = wait_s
        self.at_once = at_once
        """it was our own assumption that was wrong: no reason to wait"""


def refused(status: int, where: str, repository: str, page: str, has_token: bool) -> GreenroomError:
    """A status that trying again does not change. ``page``: of the hub's repository; empty where it is no hub."""
    match status:
        case 401 if page and has_token:
            what = (
                f"does not take the token in HF_TOKEN for {repository}: make a new one at {_root(page)}/settings/tokens"
            )
        case 401 if page:
            what = (
                f"shows {repository} to nobody unknown: it is private, gated or gone; look at {page}, and put a token "
                "that may read it into HF_TOKEN"
            )
        case 403 if page:
            what = f"keeps {repository} behind conditions: accept them at {page}, as the one whose token HF_TOKEN is"
        case 401:
            what = "wants a login, and the binding's card knows of none: fetch the file by hand"
        case 403:
            what = "refuses it: the address may have expired, or may not be used from here"
        case 404 | 410 if page:
            what = (
                f"has no such file in {repository}: it was moved or renamed; look at {page}, and for a newer Greenroom"
            )
        case 404 | 410:
            what = "has no such file: it was moved or removed; the binding's card is out of date"
        case _:
            what = f"answered with status {status}"
    return BindingFailed(f"{where}: the server {what}", kind=f"download_{status}")


def _root(page: str) -> str:
    return page.split("/", 3)[0] + "//" + page.split("/", 3)[2]


def gave_up(where: str, last: Interruption, attempts: int) -> BindingFailed:
    return BindingFailed(
        f"{where}: {last.sentence}, {attempts} times in a row; {AGAIN}", kind="download_interrupted", retryable=True
    )


def disk_failed(error: OSError, folder: Path) -> Unavailable:
    if error.errno in _NO_ROOM:
        return Unavailable(
            f"there is no room left in {folder}: make some; {AGAIN}",
            kind="no_room",
        )
    return Unavailable(f"{error.filename or folder} cannot be written: {error.strerror or error}")


def not_the_file(where: str, why: str) -> BindingFailed:
    return BindingFailed(
        f"{where}: this is not the file that it should be: {why}; nothing of it is used", kind="download_wrong_file"
    )
