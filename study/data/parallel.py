"""Map a function over items in threads, a bounded number at a time.

Threads are enough, because PIL and hashlib release the interpreter lock while they work.
"""

import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

ProgressCallback = Callable[[str, int, int], None]
"""Callback that is called now and then with (what is being done, items done, items in all)."""

CHUNK = 128  # results kept in memory at a time: 19 MB of images at 224 px
THREADS = min(8, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    what: str,
    progress: ProgressCallback | None,
) -> Iterator[Result]:
    """Yield the result of `task` for each item, in the order of `items`.

    After each chunk of items, `progress(what, done, total)` is called.
    """
    # BLAS gets one thread: if each of ours starts more for small matrix products, all of it takes
    # ten times as long
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            yield from pool.map(task, chunk)
            if progress:
                progress(what, start + len(chunk), len(items))
