"""Repeat what fails for a while, with pauses that grow."""

import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
# Set while the threads of a command are asked to stop: what they repeat then ends at once.
stopping = threading.Event()


def growing_pauses(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds without end, each twice the one before, up to `longest`."""
    pause = first
    while True:
        yield min(pause, longest)
        pause = min(2 * pause, longest)


def retry_with_backoff(
    action: Callable[[], T],
    should_retry: Callable[[Exception], bool],
    *,
    seconds: float,
    first_pause: float,
    longest_pause: float,
) -> T:
    """Run `action` until it succeeds, with growing pauses in between.

    Args:
        action: must bear repetition.
        should_retry: tells whether an error of `action` may pass.
        seconds: no attempt begins later than this after the first one.
        first_pause: in seconds; each pause is twice as long as the one before.
        longest_pause: in seconds.

    Raises:
        Exception: of the last attempt.
        KeyboardInterrupt: `stopping` is set.
    """
    end = time.monotonic() + seconds
    for pause in growing_pauses(first_pause, longest_pause):
        try:
            return action()
        except Exception as error:
            if not should_retry(error) or time.monotonic() + pause > end:
                raise
        if stopping.wait(pause):
            raise KeyboardInterrupt
    raise AssertionError("pauses have no end")
