"""A bounded map in threads: PIL and hashlib let go of the interpreter lock while they work."""

import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

Progress = Callable[[str, int, int], None]
"""Called now and then with what is being done, how many are done, and of how many."""

CHUNK = 128  # results held at a time: 19 MB of images at 224 px
THREADS = min(8, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    task: Callable[[Item], Result], items: Sequence[Item], what: str, progress: Progress | None
) -> Iterator[Result]:
    """Results in the order of `items`; after each chunk `progress(what, done, total)`."""
    # threads that each start threads for small matrix products take ten times as long
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            yield from pool.map(task, chunk)
            if progress:
                progress(what, start + len(chunk), len(items))
