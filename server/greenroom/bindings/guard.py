"""The boundary to a binding's own code: whatever it raises becomes an error that a client can read."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from greenroom.errors import BindingFailed, GreenroomError

logger = logging.getLogger(__name__)


@contextmanager
def guarded(binding_id: str) -> Iterator[None]:
    """:raises BindingFailed: for any exception that is not one of ours; the traceback goes to the log.

    A cancellation that nobody asked for is the binding's own, as of an SDK that cancels its futures: a failure, too.
    """
    try:
        yield
    except GreenroomError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BindingFailed(f"{binding_id} gave up its work by itself", retryable=True) from error
    except (Exception, SystemExit) as error:  # code that ends its program must not end this one
        logger.exception("binding %s failed", binding_id)
        raise BindingFailed(f"{binding_id} failed: {type(error).__name__}: {error}") from error
