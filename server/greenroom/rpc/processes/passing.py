"""Naming a file descriptor for a child process: its number on POSIX, its handle on Windows."""

import sys


def name_of(fd: int) -> str:
    if sys.platform == "win32":
        import msvcrt

        return str(msvcrt.get_osfhandle(fd))
    return str(fd)
