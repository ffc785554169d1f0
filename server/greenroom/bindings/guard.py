"""The boundary to a binding's own code: whatever it raises becomes an error that a client can read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from greenroom.errors import BindingFailed, GreenroomError

logger = logging.getLogger(__name__)


@contextmanager
def guarded(binding_id: str) -> Iterator[None]:
    """:raises BindingFailed: for any exception that is not one of ours; the traceback goes to the log."""
    try:
        yield
    except GreenroomError:
        raise
    except Exception as error:
        logger.exception("binding %s failed", binding_id)
        raise BindingFailed(f"{binding_id} failed: {type(error).__name__}: {error}") from error
