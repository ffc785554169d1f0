"""How far a model is loaded, told in the log instead of on the terminal."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

_STEP_PERCENT: Final = 25

logger = logging.getLogger("greenroom.bindings.transformers")


class _Told:
    """As much of a tqdm bar as transformers uses."""

    def __init__(self, name: str, what: str, total: int | None, items: Iterable[Any] | None) -> None:
        self._name = name
        self._what = what
        self._total = total
        self._items = items
        self._done = 0
        self._said = 0

    def update(self, count: int = 1) -> None:
        self._done += count
        percent = 100 * self._done // self._total if self._total else 0
        if percent >= self._said + _STEP_PERCENT:
            self._said = percent - percent % _STEP_PERCENT
            logger.info("%s: %s %d %%", self._name, self._what, self._said)

    def __iter__(self) -> Iterator[Any]:
        for item in self._items or ():
            yield item
            self.update()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was drawn."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """All else that a bar does is for the eye."""
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


@contextmanager
def told_progress(name: str) -> Iterator[None]:
    """One at a time: transformers keeps the hook for the whole process."""
    from transformers.utils import logging as bars

    set_hook = getattr(bars, "set_tqdm_hook", None)
    if set_hook is None:  # an older transformers: the bar is drawn as it likes
        yield
        return

    def hook(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> _Told:
        items: Any = args[0] if args else options.get("iterable")
        total = options.get("total")
        if total is None and hasattr(items, "__len__"):
            total = len(items)
        return _Told(name, str(options.get("desc") or "loading").lower(), total, items)

    before = set_hook(hook)
    try:
        yield
    finally:
        set_hook(before)
