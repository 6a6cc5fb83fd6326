"""The one place that catches every exception: what happened becomes a status with its traceback."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from peftscope.errors import Diverged, MethodRefused, PeftscopeError, Stopped, StoreError
from peftscope.schema.record import Status

__all__ = ["Failure", "capture", "is_out_of_memory"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why something did not come to its end."""

    status: Status
    reason: str
    traceback: str


def capture(action: Callable[[], None]) -> Failure | None:
    """Do something; None when it came to its end, else what stopped it.

    Interrupts pass through: they are the user's wish, not a failure. So does what says that nothing can be written,
    as ``StoreError``, whoever noticed it: there is no record to put such a failure into.
    """
    try:
        action()
    except StoreError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise StoreError(f"{error.filename or 'a file'}: cannot be written ({error.strerror})") from error
        return Failure(status=_status_of(error), reason=_reason_of(error), traceback=traceback.format_exc())
    return None


def _status_of(error: Exception) -> Status:
    if isinstance(error, MethodRefused):
        return "refused"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, Stopped):
        return "killed"
    return "oom" if is_out_of_memory(error) else "error"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, on the CPU or on an accelerator."""
    # torch's classes are told by name, so that this module needs no torch; its CPU allocator has none.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _reason_of(error: Exception) -> str:
    return str(error) if isinstance(error, PeftscopeError) else f"{type(error).__name__}: {error}"
