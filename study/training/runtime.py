"""Make the backend that Keras computes with deterministic, and name it.

Knows no models.
"""

import contextlib
import importlib
import os
import platform
from pathlib import Path
from typing import Any

import keras

from study.common.cache import cache_dir

DETERMINISTIC_OPS_FLAG = "--xla_gpu_deterministic_ops"


def prepare_backend() -> None:
    """Make the same computation give the same numbers, as far as the backend can.

    With JAX, also keep what it compiles in the cache folder, for the next process. Call this before
    anything is computed: JAX reads its flags when it starts.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        # Its warning of retracing mistakes a process' second trial for an error.
        tf.get_logger().setLevel("ERROR")
    elif keras.backend.backend() == "jax":
        import jax

        if DETERMINISTIC_OPS_FLAG not in (flags := os.environ.get("XLA_FLAGS", "")):
            os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC_OPS_FLAG}=true".strip()
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
        # Keep quick compilations, too: a new model asks for hundreds of them.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def on_host() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which JAX makes new arrays in the host's memory.

    To make a model takes hundreds of small computations. Each is compiled by itself, which takes a
    GPU's compiler ten times as long as the processor's. On another backend the context does
    nothing.
    """
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    host = jax.local_devices(backend="cpu")[0]
    context: contextlib.AbstractContextManager[Any] = jax.default_device(host)
    return context


def is_on_gpu() -> bool:
    """Return whether Keras computes on a GPU."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import jax

    return jax.default_backend() == "gpu"


def collect_tags() -> dict[str, str]:
    """Return the tags that name a run's backend and device, and their versions.

    They are no part of the fingerprint. Another backend, device or version gives other float noise,
    and JAX draws other numbers for dropout and augment than TensorFlow does. But it is the same
    experiment, and its result need not be trained again for that.
    """
    backend = keras.backend.backend()
    return {
        "backend": backend,
        "backend_version": str(importlib.import_module(backend).__version__),
        "keras_version": keras.__version__,
        "device": _read_device_name(backend),
    }


def _read_device_name(backend: str) -> str:
    """Return the name of the first GPU, or else of the processor."""
    if backend == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(gpus[0])
            return str(details.get("device_name", "GPU"))
    elif backend == "jax":
        import jax

        if (device := jax.devices()[0]).platform != "cpu":
            return str(device.device_kind)
    return _read_processor_name()


def _read_processor_name() -> str:
    """Return the processor's model as Linux names it, or else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())
