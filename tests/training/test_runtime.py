"""Settings of other work on this machine do not change what is computed."""

import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from study.config.trial_config import TrialConfig
from study.training import runtime
from study.training.model import build_model


@pytest.fixture
def foreign_keras_settings() -> Iterator[None]:
    """Settings such as those of somebody's keras.json."""
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.01)
    keras.config.set_image_data_format("channels_first")
    yield
    runtime.reset_keras_settings()


@pytest.mark.usefixtures("foreign_keras_settings")
def test_model_is_built_with_keras_own_defaults() -> None:
    config = TrialConfig(alpha=0.25, weights="none", image_size=32)
    model = build_model(config, 3, fused=False)
    assert model(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 3)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.floatx() == "float32"
    assert keras.config.epsilon() == 1e-7
    assert keras.config.image_data_format() == "channels_last"


@pytest.fixture
def jax(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """JAX as if Keras used it, whose settings are put back afterwards."""
    module = pytest.importorskip("jax")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    names = [*runtime.JAX_SETTINGS, "jax_platforms", "jax_compilation_cache_dir"]
    settings = {name: getattr(module.config, name) for name in names}
    yield module
    for name, value in settings.items():
        module.config.update(name, value)


def test_jax_computes_alike_whatever_the_user_set(
    monkeypatch: pytest.MonkeyPatch, jax: Any
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=false")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "bfloat16")
    jax.config.update("jax_default_prng_impl", "rbg")
    jax.config.update("jax_platforms", "cuda")
    runtime.prepare_backend()
    assert not jax.config.jax_enable_x64
    assert jax.config.jax_default_matmul_precision is None
    assert jax.config.jax_default_prng_impl == "threefry2x32"
    assert jax.config.jax_platforms == "cuda,cpu"
    assert os.environ["XLA_FLAGS"].endswith(" --xla_gpu_deterministic_ops=true")


@pytest.fixture
def unset_rounding_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in runtime.ROUNDING_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("unset_rounding_variables")
def test_collect_tags_names_the_variables_that_change_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "rounding_settings" not in runtime.collect_tags()
    monkeypatch.setenv("XLA_FLAGS", runtime.DETERMINISTIC_OPS_FLAG)  # the study's own
    assert "rounding_settings" not in runtime.collect_tags()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("XLA_FLAGS", f"--xla_x=1 {runtime.DETERMINISTIC_OPS_FLAG}")
    assert (
        runtime.collect_tags()["rounding_settings"] == "TF_ENABLE_ONEDNN_OPTS=0 XLA_FLAGS=--xla_x=1"
    )
