"""Training on JAX, in processes of its own: one process has one backend."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.common.errors import StudyError
from study.training.fit import fit
from tests.support.commands import finish
from tests.support.commands import JAX
from tests.support.commands import start
from tests.support.fit_jax_tasks import arrays
from tests.support.fit_jax_tasks import RANDOM

MODULE = "tests.support.fit_jax_tasks"


def start_tasks(folder: Path, *tasks: str) -> "subprocess.Popen[str]":
    return start(MODULE, str(folder), *tasks, cwd=folder, **JAX)


def read_report(folder: Path, name: str) -> tuple[list[dict[str, float]], Any]:
    history, figures = json.loads((folder / f"{name}.json").read_text())
    return history, figures


def outputs(folder: Path, name: str) -> dict[str, Any]:
    with np.load(folder / f"{name}.npz") as saved:
        return dict(saved)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tasks have left what they came to."""
    folder = tmp_path_factory.mktemp("jax")
    other = start(MODULE, str(folder), "same_start", cwd=folder, KERAS_BACKEND="tensorflow")
    killed = finish(start_tasks(folder, "killed"))
    assert killed.returncode == -9, killed.stderr
    assert finish(other).returncode == 0
    done = finish(start_tasks(folder, "resumed", "whole", "same_start"))
    assert done.returncode == 0, done.stderr
    return folder


def test_jax_from_the_same_weights_gives_tensorflows_figures(folder: Path) -> None:
    (ours,), _ = read_report(folder, "jax")
    (theirs,), _ = read_report(folder, "tensorflow")
    assert ours == pytest.approx(theirs, rel=1e-3)
    for part, values in outputs(folder, "tensorflow").items():
        np.testing.assert_allclose(outputs(folder, "jax")[part], values, rtol=1e-3, atol=1e-5)


def test_jax_moving_averages_equal_those_of_the_fused_kernel(folder: Path) -> None:
    averages, theirs = (outputs(folder, f"{n}-averages") for n in ("jax", "tensorflow"))
    assert len(averages) == 54
    for name, values in theirs.items():
        scale = np.abs(values).max()  # a sample variance of 16 would be 7 % larger
        np.testing.assert_allclose(averages[name], values, rtol=0, atol=5e-3 * scale)


def test_jax_trial_killed_and_resumed_ends_bit_for_bit_the_same(folder: Path) -> None:
    resumed, whole = read_report(folder, "resumed"), read_report(folder, "whole")
    assert resumed[0] == whole[0]
    assert [epoch["epoch"] for epoch in whole[0]] == [1, 2]
    for part, values in outputs(folder, "whole").items():
        np.testing.assert_array_equal(outputs(folder, "resumed")[part], values)


def test_jax_trial_of_another_seed_and_rate_compiles_nothing(folder: Path) -> None:
    report = json.loads((folder / "told.json").read_text())
    assert report["programs"] == 3  # full batches, the last one, prediction
    assert report["new"] == 0


def test_jax_loop_reports_all_steps(folder: Path) -> None:
    report = json.loads((folder / "told.json").read_text())
    assert report["steps"] == [[3, 4], [4, 4]] * 2  # 54 images: 3 batches of 16 and one of 6


def test_jax_trial_leaves_nothing_on_the_device(folder: Path) -> None:
    report = json.loads((folder / "told.json").read_text())
    assert report["left"] <= 0


def test_jax_without_room_for_the_images_sends_batches(folder: Path) -> None:
    report = json.loads((folder / "told.json").read_text())
    assert (report["same"], report["resident"]) == (True, 0)


def test_jax_checkpoint_is_refused_by_another_backend(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"started with KERAS_BACKEND=jax: set that"):
        fit(RANDOM, arrays(), folder / "state")


@pytest.mark.slow
def test_jax_trial_in_16_bits_has_finite_figures(tmp_path: Path) -> None:
    done = finish(start_tasks(tmp_path, "precise"))
    assert done.returncode == 0, done.stderr
    for precision in ("mixed_bfloat16", "mixed_float16"):
        (epoch,), _ = read_report(tmp_path, precision)
        assert np.isfinite(list(epoch.values())).all()
        assert outputs(tmp_path, precision)["test"].dtype == np.float32
