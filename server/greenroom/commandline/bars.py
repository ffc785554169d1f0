"""How far an installation is, on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenroom.bindings.environments import size_text
from greenroom.bindings.installing.progress import Phase, Progress
from greenroom.commandline.console import Console, printable

Report = Callable[[Progress], None]


@contextmanager
def shown(name: str, console: Console) -> Iterator[Report]:
    """A bar on a terminal; else a line for each new phase or package."""
    if not console.interactive:
        yield _Lines(name, console)
        return
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = ("{task.description}", "{task.percentage:>3.0f}%", "{task.fields[bytes]}", "{task.fields[message]}")
    first, *rest = (TextColumn(column) for column in columns)
    with Bars(first, BarColumn(bar_width=30), *rest, console=console.rich()) as bars:
        task = bars.add_task(escape(name), total=100, bytes="", message="")

        def report(progress: Progress) -> None:
            message = escape(printable(progress.message))
            bars.update(task, completed=progress.percent, bytes=_bytes_text(progress), message=message)

        yield report


class _Lines:
    """What is new, and each further tenth of a long download."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._said = ""
        self._tenths = 0

    def __call__(self, progress: Progress) -> None:
        tenths = int(progress.percent // 10)
        if progress.phase is Phase.RESOLVING or (progress.message == self._said and tenths <= self._tenths):
            return
        self._said, self._tenths = progress.message, tenths
        self._console.line(f"{self._name}: {progress.percent:3.0f}%  {progress.message}")


def _bytes_text(progress: Progress) -> str:
    if not progress.total:
        return ""
    text = f"{size_text(progress.downloaded)} of {size_text(progress.total)}"
    return f"{text}, {size_text(progress.speed)}/s" if progress.phase is Phase.DOWNLOADING and progress.speed else text
