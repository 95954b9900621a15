"""Name trials and studies within the lengths that MLflow and Optuna accept."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from study.config.dataset_names import data_name
from study.config.initial_weights import starts_from_published
from study.config.trial_config import TrialConfig

MAX_TITLE_LENGTH = 80  # characters
# Characters of a data set's name in the name of an experiment or a study. MLflow has room for 256
# in all, and Optuna for 512.
MAX_EXPERIMENT_LENGTH = 250
MAX_STUDY_DATASET_LENGTH = 400
# Fields that a title always shows, in its own notation
TITLE_FIELDS = ("head", "hidden_layers", "dense_units", "lr", "seed", "fold", "folds", "split")

# The fields of the first studies. The name of a study has a hash of them all, and of each later
# field only if it is not at its default. So a study keeps its name when a knob is added.
FIRST_FIELDS = (
    *("dataset", "backbone", "alpha", "weights", "bn_momentum", "head", "hidden_layers"),
    *("dense_units", "dropout", "trainable", "augment", "label_smoothing", "weight_decay", "lr"),
    *("batch_size", "epochs", "patience", "image_size", "scaling", "split", "fold", "folds"),
    *("limit", "seed", "precision"),
)


def select_named_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a study's fields that its name depends on, in their order."""
    defaults = {spec.name: spec.default for spec in dataclasses.fields(TrialConfig)}
    return {
        name: value
        for name, value in values.items()
        if name in FIRST_FIELDS or value != defaults[name]
    }


def make_trial_title(config: TrialConfig, digest: str) -> str:
    """Return a trial's name, such as `blood · D(8)·D(8) · 1e-5 · seed 2 · fold 1/5`.

    A split that differs from the recipe's always follows, as ` · split=grouped`. Other differences
    follow, such as ` · dropout=0.2`, as far as they fit into `MAX_TITLE_LENGTH`. Published weights
    count as no difference, even if they come from a file.

    Args:
        config: the trial's config.
        digest: the digest of the data.
    """
    digits, _, power = f"{config.lr:.3e}".partition("e")
    rate = f"{float(digits):g}e{int(power)}"
    name = data_name(config.dataset, digest)
    title = f"{name} · {config.head_notation} · {rate} · seed {config.seed}"
    if config.folds > 0:
        title += f" · fold {config.fold}/{config.folds}"
    differences = config.differences()
    if "split" in differences:
        title += f" · split={config.split}"
    hidden_fields = {"weights"} if starts_from_published(config) else set()
    return _append_differences(
        title, {name: value for name, value in differences.items() if name not in hidden_fields}
    )


def describe_split(config: TrialConfig) -> str:
    """Describe the split, as `grouped split in 5 folds`, or without the folds."""
    folds = f" in {config.folds} folds" if config.folds > 0 else ""
    return f"{config.split} split{folds}"


def shorten_name(name: str, limit: int) -> str:
    """Return a name cut to `limit` characters, of which the last 8 are a hash."""
    if len(name) <= limit:
        return name
    content = name.encode(errors="surrogateescape")
    return f"{name[: limit - 9]}-{hashlib.sha256(content).hexdigest()[:8]}"


def _append_differences(title: str, differences: dict[str, Any]) -> str:
    """Append as many differences to a title as fit, and ` …` if some do not."""
    parts = [
        # the path of a weights file is private, and titles are not
        f"{name}={'file' if name == 'weights' and value != 'none' else value}"
        for name, value in differences.items()
        if name not in TITLE_FIELDS
    ]
    for number, part in enumerate(parts, start=1):
        longer_title = f"{title}{' · ' if number == 1 else ' '}{part}"
        is_last = number == len(parts)
        # unless it is the last part, ` …` must still fit
        if len(longer_title) > (MAX_TITLE_LENGTH if is_last else MAX_TITLE_LENGTH - 2):
            return f"{title} …"
        title = longer_title
    return title
