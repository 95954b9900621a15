"""Keep the memory that a process frees for what it allocates next."""

import contextlib
import ctypes

# Parameters of glibc's mallopt(3)
TRIM_THRESHOLD = -1
TOP_PAD = -2
MMAP_MAX = -4
TOP_PAD_BYTES = 64 * 2**20


def keep_freed_memory() -> None:
    """Have glibc's malloc reuse freed memory instead of returning it to the system.

    TensorFlow frees and allocates all of a step's tensors in each step. If the system gets them
    back, it clears each page of memory again before it hands it out (benchmarks/README.md). The
    numbers of a training do not depend on it. Other C libraries are left alone.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_MAX, 0)  # allocate large blocks on the heap, too
        mallopt(TRIM_THRESHOLD, -1)  # never shrink it
        mallopt(TOP_PAD, TOP_PAD_BYTES)  # grow it in large steps
