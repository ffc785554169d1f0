"""What the commands print: the answer to standard output, everything about it to standard error."""

import json
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

_UNPRINTABLE = {code: "" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
"""A character's words must not steer the terminal."""


def prepare_streams() -> None:
    """Every character can be written: a pipe carries UTF-8 on Windows too, an old console shows ``?`` instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", errors="replace")
    if isinstance(sys.stdin, TextIOWrapper) and not sys.stdin.isatty():
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")


def printable(text: str) -> str:
    return text.translate(_UNPRINTABLE)


class Console:
    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._in_line = False

    @property
    def interactive(self) -> bool:
        return self._out.isatty()

    def write(self, text: str) -> None:
        """A piece of an answer, shown at once."""
        if text:
            self._out.write(printable(text))
            self._out.flush()
            self._in_line = not text.endswith("\n")

    def line(self, text: str = "") -> None:
        self.end_line()
        self._out.write(f"{printable(text)}\n")
        self._out.flush()

    def end_line(self) -> None:
        """Begin a new line, unless the cursor stands at the start of one."""
        if self._in_line:
            self._out.write("\n")
            self._out.flush()
            self._in_line = False

    def note(self, text: str) -> None:
        """About the answer, or instead of one."""
        self.end_line()
        self._err.write(f"{printable(text)}\n")
        self._err.flush()

    def json(self, data: Any) -> None:
        self.line(json.dumps(data, ensure_ascii=False, indent=2, default=str))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.markup import escape
        from rich.table import Table

        self.end_line()
        table = Table(title=title, title_justify="left", header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(escape(printable(cell)) for cell in row))
        self.rich().print(table)

    def rich(self) -> "RichConsole":
        """For what is drawn on the same stream."""
        from rich.console import Console as RichConsole

        return RichConsole(file=self._out, width=None if self.interactive else 140, highlight=False)
