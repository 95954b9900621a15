"""Train the seven variants with many seeds, and keep what they predict after each epoch."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from study.common.files import atomic_write
from study.common.progress import Progress
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.statistics import metrics
from study.variants import variant_fields
from study.variants import VARIANTS

SETTINGS: dict[str, dict[str, Any]] = {
    "demo": {"limit": 325},
    "chest": {
        "image_size": 64,
        "alpha": 0.25,
        "batch_size": 16,
        "limit": 400,
        "epochs": 6,
        "split": "grouped",
    },
}


# By seed and variant: `val` is the validation accuracy of each epoch, `right` tells which test
# images were right after each epoch, shape (epochs, images), and `groups` names their groups.
Curves = dict[int, dict[int, dict[str, Any]]]


def train_seed(base: TrialConfig) -> dict[int, dict[str, Any]]:
    """Train each variant with the seed of `base`, and return its curves by variant."""
    return {
        variant.number: train_variant(base.replace(**variant_fields(variant.number, base)))
        for variant in VARIANTS
    }


def train_variant(config: TrialConfig) -> dict[str, Any]:
    """Train a config with the study's own loop, and return its curves."""
    from study.training import fit
    from study.training.arrays import Arrays
    from study.training.loop import make_loop
    from study.training.model import build_compiled_model
    from study.trial.prepare import prepare_trial

    trial = prepare_trial(config, Progress(), use_cache=True)
    data = trial.data
    split = trial.split
    arrays = Arrays(data.x, data.y, split.train, split.val, split.test, len(data.classes))
    loop = make_loop(config, arrays, build_compiled_model(config, arrays.num_classes))
    val = []
    right = []
    for epoch in range(config.epochs):
        loop.train(fit.shuffle_training_rows(config, arrays, epoch), lambda *_: None)
        val.append(metrics.accuracy(loop.predict(split.val)[0], data.y[split.val]))
        right.append(loop.predict(split.test)[0].argmax(axis=1) == data.y[split.test])
    groups = np.asarray(data.groups)[split.test]
    return {"val": val, "right": np.array(right), "groups": groups}


def read_or_train(setting: str, weights: str | None, folder: Path, seeds: int) -> Curves:
    """Return the curves of all seeds, and train those that are not in the folder."""
    base = recipe(setting).replace(**SETTINGS[setting])
    if weights:
        base = base.replace(weights=weights)
    curves: Curves = {}
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(seeds):
        path = folder / f"{setting}-{Path(base.weights).stem}-{seed}.pkl"
        if not path.exists():
            atomic_write(path, pickle.dumps(train_seed(base.replace(seed=seed))))
        curves[seed] = pickle.loads(path.read_bytes())
    return curves
