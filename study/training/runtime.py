"""The backend that Keras computes with: made to repeat itself, and named. Knows no models."""

import contextlib
import importlib
import os
import platform
from pathlib import Path
from typing import Any

import keras

from study.common.cache import cache_dir

REPEATABLE = "--xla_gpu_deterministic_ops"


def prepare() -> None:
    """Have the same computation give the same numbers, as far as the backend offers it.

    And have JAX keep what it compiles in the cache folder, for the next process. Call this before
    anything is computed: JAX reads its flags when it starts.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.get_logger().setLevel("ERROR")  # it takes a second trial for a mistake: retracing
    elif keras.backend.backend() == "jax":
        import jax

        if REPEATABLE not in (flags := os.environ.get("XLA_FLAGS", "")):
            os.environ["XLA_FLAGS"] = f"{flags} {REPEATABLE}=true".strip()
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
        # of which a new model asks for hundreds
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def on_host() -> contextlib.AbstractContextManager[Any]:
    """Have JAX make what is new in the host's memory: a model is hundreds of small computations.

    Each is compiled by itself, which takes a GPU's compiler ten times as long as the processor's.
    """
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    host = jax.local_devices(backend="cpu")[0]
    context: contextlib.AbstractContextManager[Any] = jax.default_device(host)
    return context


def on_gpu() -> bool:
    """Whether Keras computes on a GPU."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import jax

    return jax.default_backend() == "gpu"


def tags() -> dict[str, str]:
    """What a run says of where it was trained: backend, device, and the versions of both.

    They are no part of the fingerprint. Another backend, device or version gives other float noise,
    and JAX draws other numbers for dropout and augment than TensorFlow does; but it is the same
    experiment, and whoever asks for its result need not train it once more for that.
    """
    name = keras.backend.backend()
    return {
        "backend": name,
        "backend_version": str(importlib.import_module(name).__version__),
        "keras_version": keras.__version__,
        "device": _device(name),
    }


def _device(backend: str) -> str:
    """The name of the first GPU, or else of the processor."""
    if backend == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(gpus[0])
            return str(details.get("device_name", "GPU"))
    elif backend == "jax":
        import jax

        if (device := jax.devices()[0]).platform != "cpu":
            return str(device.device_kind)
    return _processor()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())
