"""Train a Keras model on arrays, with TensorFlow or JAX.

Knows no MLflow and no Optuna.
"""

import gc
import sys

from study.common.settings import read_setting


def _import_keras() -> None:
    """Import Keras without packages that are not used here.

    Keras imports scikit-learn, and TensorFlow imports JAX, if they are installed. Both go on
    without them, in two thirds of the time.
    """
    unused = {"sklearn"} if read_setting("KERAS_BACKEND") == "jax" else {"sklearn", "jax"}
    hidden = unused - sys.modules.keys()
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import keras  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]
    gc.freeze()  # else Keras looks through its own modules for garbage before each trial


_import_keras()
