"""Backbones that the trials of a process share: the same numbers as if each had its own."""

import gc
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from study.config.trial_config import TrialConfig
from study.training import backbone
from study.training.arrays import Arrays
from study.training.fit import fit
from study.training.fit import TrialResult

SMALL = TrialConfig(
    alpha=0.25, weights="none", image_size=32, batch_size=16, epochs=1, lr=1e-3, bn_momentum=0.9
)


def arrays() -> Arrays:
    generator = np.random.default_rng(0)
    x, rows = generator.integers(0, 256, (80, 32, 32, 3), np.uint8), generator.permutation(80)
    return Arrays(x, generator.integers(0, 3, 80), rows[:40], rows[40:60], rows[60:], 3)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A weights file of the backbone."""
    file = tmp_path / "some.weights.h5"
    keras.utils.set_random_seed(5)
    plain = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    plain.save_weights(file)
    return str(file)


def graphs() -> int:
    gc.collect()
    return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())


def trained(config: TrialConfig, folder: Path, *, alone: bool) -> TrialResult:
    if alone:
        backbone.clear_kept_backbone()
    return fit(config, arrays(), folder / f"{config}{alone}".replace("/", "")[-60:])


@pytest.mark.parametrize("kind", ["none", "file"])
def test_trial_after_others_gives_the_figures_of_the_first(
    kind: str, weights: str, tmp_path: Path
) -> None:
    base = SMALL.replace(weights="none" if kind == "none" else weights)
    second = base.replace(dense_units=16, hidden_layers=2, seed=3, dropout=0.2)
    alone = trained(second, tmp_path, alone=True)
    trained(base, tmp_path, alone=True)
    seconds = {"seconds": 0.0}
    for folder in ("other seed before", "same seed before"):
        after = trained(second, tmp_path / folder, alone=False)
        np.testing.assert_array_equal(after.test_probabilities, alone.test_probabilities)
        assert [e | seconds for e in after.history] == [e | seconds for e in alone.history]


def test_changed_weights_file_is_read_again(weights: str, tmp_path: Path) -> None:
    config = SMALL.replace(weights=weights)
    first = trained(config, tmp_path / "1", alone=True)
    plain = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    plain.save_weights(weights)
    os.utime(weights, ns=(0, 0))
    second = trained(config, tmp_path / "2", alone=False)
    assert not np.array_equal(first.test_probabilities, second.test_probabilities)


def test_trial_leaves_no_graph_but_its_backbones(tmp_path: Path) -> None:
    config = SMALL.replace(dropout=0.5, weight_decay=0.1)
    trained(config, tmp_path, alone=True)
    trained(config.replace(seed=1), tmp_path, alone=False)
    before = graphs()
    for seed in (2, 3):
        trained(config.replace(seed=seed, hidden_layers=seed), tmp_path, alone=False)
    assert graphs() == before
