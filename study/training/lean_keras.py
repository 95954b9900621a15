"""Import Keras without packages that are not used here.

Keras imports scikit-learn and matplotlib, and TensorFlow imports JAX, if they are installed. Both
work without them, and load in less than two thirds of the time. The modules of this package take
`keras` from here.
"""

import contextlib
import gc
import sys
from collections.abc import Iterator

from study.common.settings import read_setting


@contextlib.contextmanager
def _hide_unused_packages() -> Iterator[None]:
    """Let packages look as if they were not installed; JAX only if it is not the backend."""
    unused = {"matplotlib", "sklearn"}
    if read_setting("KERAS_BACKEND") != "jax":
        unused.add("jax")
    hidden = unused - sys.modules.keys()
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _hide_unused_packages():
    import keras as keras
gc.freeze()  # else Keras looks through its own modules for garbage before each trial
