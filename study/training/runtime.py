"""Make the backend that Keras computes with deterministic, and name it.

Knows no models.
"""

import contextlib
import importlib
import os
import platform
from pathlib import Path
from typing import Any

from study.common.cache import cache_dir
from study.training.lean_keras import keras

DETERMINISTIC_OPS_FLAG = "--xla_gpu_deterministic_ops=true"
# Environment variables with which the same computation is rounded otherwise, in alphabetical order
ROUNDING_VARIABLES = (
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
# What JAX computes and draws with, whatever the user's variables (such as JAX_ENABLE_X64) say
JAX_SETTINGS = {
    "jax_default_matmul_precision": None,  # that of the backend
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_x64": False,
    "jax_threefry_partitionable": True,
}


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
        _prepare_jax()


def _prepare_jax() -> None:
    import jax

    if DETERMINISTIC_OPS_FLAG not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC_OPS_FLAG}".strip()  # the last one counts
    config: Any = jax.config  # whose attributes are not declared
    for name, value in JAX_SETTINGS.items():
        config.update(name, value)
    platforms = config.jax_platforms  # such as "cuda"; empty if JAX chooses
    if platforms and "cpu" not in platforms.split(","):
        config.update("jax_platforms", f"{platforms},cpu")  # `on_host` needs it
    config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
    # Keep quick compilations, too: a new model asks for hundreds of them.
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def reset_keras_settings() -> None:
    """Set what the user's keras.json may change to Keras' own defaults.

    Call this before a layer is made.
    """
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def on_host() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which JAX makes new arrays in the host's memory.

    Making a model takes hundreds of small computations, each compiled by itself. The compiler for a
    GPU takes ten times as long for each as the one for the processor. On another backend the
    context does nothing.
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
    """Return tags with a run's backend and device, their versions and settings.

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
        **_collect_rounding_tag(),
    }


def _collect_rounding_tag() -> dict[str, str]:
    """Return the tag of the variables that change how sums are rounded, if any."""
    # The flag that `prepare_backend` adds is no choice of the user.
    values = {
        name: os.environ.get(name, "").replace(DETERMINISTIC_OPS_FLAG, "").strip()
        for name in ROUNDING_VARIABLES
    }
    text = " ".join(f"{name}={value}" for name, value in values.items() if value)
    return {"rounding_settings": text} if text else {}


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
