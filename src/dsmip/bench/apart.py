"""A measurement in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import TypeVar, cast

Result = TypeVar("Result")


def apart(measure: Callable[[], Result]) -> Result:
    """What `measure` returns, called in a child that has all that there is here.

    An engine is the only one in the life of a daemon. In one process the second engine lies scattered over
    what the first has left of the memory, and takes a tenth more time for it, which no daemon ever does.
    Raises RuntimeError when the child ends without a result; it has said why on its stderr.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(measure()))
    child.start()
    theirs.close()
    try:
        return cast("Result", ours.recv())
    except EOFError:
        raise RuntimeError("a measurement ended without a result") from None
    finally:
        ours.close()
        child.join()
