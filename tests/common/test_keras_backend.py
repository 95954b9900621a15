"""Which backend Keras computes with, and what is said if it cannot."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study import grid
from study import offline
from study import predict
from study import tpe
from study import train
from study.common import settings
from study.common.settings import keras_backend
from tests.support.commands import refusal

COMMANDS = pytest.mark.parametrize(
    ("main", "flags"),
    [
        (train.main, ()),
        (grid.main, ()),
        (tpe.main, ()),
        (offline.main, ("--out", "records")),
        (predict.main, ("--model", "models:/demo@best", "photos")),
    ],
    ids=["train", "grid", "tpe", "offline", "predict"],
)


@pytest.mark.parametrize(
    ("setting", "backend"), [(None, "tensorflow"), ("", "tensorflow"), (" jax ", "jax")]
)
def test_keras_backend_is_the_setting_or_tensorflow(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, backend: str
) -> None:
    if setting is None:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
    else:
        monkeypatch.setenv("KERAS_BACKEND", setting)
    assert keras_backend() == backend


@COMMANDS
@pytest.mark.parametrize("backend", ["torch", "theano", "openvino", "TensorFlow"])
def test_another_backend_is_one_line_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    main: Callable[[], None],
    flags: tuple[str, ...],
    backend: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr("sys.argv", ["command", *flags])
    error = refusal(main, capsys)
    assert error == f"error: KERAS_BACKEND={backend} is not supported: use tensorflow or jax\n"
    assert list(tmp_path.iterdir()) == []


@COMMANDS
def test_backend_that_is_not_installed_is_one_line_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    main: Callable[[], None],
    flags: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "BACKENDS", ("keras_on_abacus",))
    monkeypatch.setenv("KERAS_BACKEND", "keras_on_abacus")
    monkeypatch.setattr("sys.argv", ["command", *flags])
    assert "the package keras_on_abacus is not installed: install it" in refusal(main, capsys)
    assert list(tmp_path.iterdir()) == []
