"""Every knob of a trial with its allowed values, and the recipe of each data set."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.common.errors import ConfigError
from study.common.folder_names import get_folder_path
from study.config.backbones import BACKBONES
from study.config.backbones import MOBILENET_ALPHAS
from study.config.knobs import check_value
from study.config.knobs import knob

HIDDEN_LAYER_FIELDS = ("dense_units", "dropout")  # they change nothing if hidden_layers=0


@dataclass(frozen=True)
class TrialConfig:
    """The config of a trial.

    Together with the images, it decides all of the trial's numbers. It is immutable, and checked
    when it is made.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """

    dataset: str = knob(
        "demo",
        "chest, blood, demo, or the path of a folder that has one folder per class",
        affects="images",
    )
    backbone: str = knob(
        "mobilenet",
        "ImageNet CNN to fine-tune",
        affects="backbone program",
        choices=tuple(BACKBONES),
    )
    alpha: float = knob(
        1.0, "width of MobileNet's layers", affects="backbone program", choices=MOBILENET_ALPHAS
    )
    weights: str = knob(
        "imagenet", "imagenet, none, or a weights file (.h5) of the backbone", affects="backbone"
    )
    bn_momentum: float = knob(
        0.99,
        "momentum of batch normalization's moving averages",
        affects="backbone program",
        low=0.0,
        high=0.9999,
    )
    head: str = knob(
        "flatten",
        "layer between backbone and dense layers: flatten, or global average pooling",
        affects="program",
        choices=("flatten", "gap"),
    )
    hidden_layers: int = knob(
        1, "dense layers before the softmax", affects="program", low=0, high=8
    )
    dense_units: int = knob(
        8, "units of each hidden dense layer", affects="program", low=1, high=4096
    )
    dropout: float = knob(
        0.5, "dropout rate after each hidden layer", affects="program", low=0.0, high=0.95
    )
    trainable: float = knob(
        1.0,
        "share of the backbone's layers to train, counted from its end; 0 trains the head only",
        affects="backbone program",
        low=0.0,
        high=1.0,
    )
    augment: float = knob(
        0.0,
        "strength of random changes: 1 flips, turns by up to 36 degrees, zooms by 20%, shifts by "
        "10%, changes contrast by 50%; 0 changes nothing",
        affects="program",
        low=0.0,
        high=1.0,
    )
    label_smoothing: float = knob(
        0.0,
        "share of the label's probability spread over all classes, in the training loss only",
        affects="program",
        low=0.0,
        high=0.5,
    )
    weight_decay: float = knob(
        0.0,
        "every step of Adam subtracts lr times this share of each kernel",
        affects="program",
        low=0.0,
        high=1.0,
    )
    class_weights: str = knob(
        "none",
        "balanced gives every class the same weight in the training loss, however few its images",
        affects="program",
        choices=("none", "balanced"),
    )
    lr: float = knob(1e-5, "Adam's learning rate", affects="training", low=1e-8, high=1.0)
    batch_size: int = knob(32, "images per step", affects="program", low=1, high=4096)
    epochs: int = knob(
        30, "passes over the training images, at most", affects="training", low=1, high=10_000
    )
    patience: int = knob(
        0,
        "stop after this many epochs without a lower val_loss; 0 never stops early",
        affects="training",
        low=0,
        high=10_000,
    )
    image_size: int = knob(
        224, "height and width in pixels", affects="images backbone program", low=32, high=1024
    )
    scaling: str = knob(
        "1/255",
        "1/255 as in the reports, or the backbone's own",
        affects="program",
        choices=("1/255", "backbone"),
    )
    split: str = knob(
        "pooled",
        "how images are split into train, val and test",
        affects="images",
        choices=("pooled", "official", "grouped"),
    )
    fold: int = knob(
        0, "which of the folds is the test set; 0 without folds", affects="images", low=0, high=1000
    )
    folds: int = knob(
        0,
        "cross-validate the grouped split in this many folds (2 or more); 0 for no folds",
        affects="images",
        low=0,
        high=1000,
    )
    limit: int = knob(
        0,
        "use about this many images, with the same share of each class; 0 uses all",
        affects="images",
        low=0,
        high=100_000_000,
    )
    seed: int = knob(
        0,
        "seed of split, initial head, shuffling, dropout and augment",
        affects="images training",
        low=0,
        high=2**31 - 1,
    )
    precision: str = knob(
        "float32",
        "dtype of the computation",
        affects="backbone program",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            check_value(spec, getattr(self, spec.name))
        _check_dataset(self.dataset)
        backbone = BACKBONES[self.backbone]
        if self.image_size < backbone.min_image_size:
            raise ConfigError(
                f"image_size={self.image_size} is too small for {backbone.title}: "
                f"use {backbone.min_image_size} or more"
            )
        if self.backbone != "mobilenet" and self.alpha != 1.0:
            raise ConfigError(f"alpha={self.alpha} is for mobilenet only: leave it at 1.0")
        if self.weights not in ("imagenet", "none") and not Path(self.weights).is_file():
            raise ConfigError(f"weights: no file {self.weights!r}; use imagenet, none, or a file")
        _check_folds(self)

    def replace(self, **changes: Any) -> "TrialConfig":
        """Return a copy with some fields changed, checked like any config."""
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values by field name, in the order of declaration."""
        return dataclasses.asdict(self)

    @property
    def head_notation(self) -> str:
        """Return the head as the names of runs show it.

        Examples are `D(8)·D(8)`, `GAP·D(8)`, `F` and `GAP`. The reports write
        `F - D(8) - D(8)`, where F is the flattening that goes without saying.
        """
        pooling = ["GAP"] if self.head == "gap" else []
        return "·".join(pooling + [f"D({self.dense_units})"] * self.hidden_layers) or "F"

    def differences(self) -> dict[str, Any]:
        """Return the fields, with their values, that differ from the data set's recipe."""
        defaults = recipe(self.dataset).as_dict()
        return {name: value for name, value in self.as_dict().items() if value != defaults[name]}


def _check_folds(config: TrialConfig) -> None:
    fold = config.fold
    folds = config.folds
    if folds == 1:
        raise ConfigError("folds=1 tests on all images: use 2 to 1000, or 0 for no folds")
    if fold and not folds:
        raise ConfigError(f"fold={fold} needs the number of folds: add folds, such as folds=5")
    if folds and config.split != "grouped":
        raise ConfigError(
            f"folds={folds} needs groups, not split={config.split}: set split=grouped"
        )
    if folds and not fold:
        raise ConfigError(
            f"folds={folds} needs a fold to test on: add fold=1 (to {folds}); "
            "python -m study.grid trains them all"
        )
    if fold > folds:
        raise ConfigError(f"fold={fold} is not among folds={folds}: use 1 to {folds}")


def _check_dataset(dataset: str) -> None:
    if dataset in RECIPES:
        return
    path = get_folder_path(dataset)
    if path is None:
        raise ConfigError(
            f"dataset={dataset!r} is unknown: choose one of {', '.join(RECIPES)}, or the path of a "
            "folder, as folder:PATH"
        )
    if not path:
        raise ConfigError("dataset=folder: has no path: use folder:PATH")


# The fields in which a data set differs from the defaults above, which are the chest report's.
RECIPES: dict[str, dict[str, Any]] = {
    "chest": {},
    "blood": {"backbone": "inception_v3"},
    # It trains from scratch in seconds, so images and batches are small. The moving averages of
    # batch normalization need a low momentum: 450 steps are too few for Keras' 0.99.
    "demo": {
        "alpha": 0.25,
        "weights": "none",
        "bn_momentum": 0.9,
        "head": "gap",
        "dropout": 0.0,
        "lr": 1e-3,
        "batch_size": 16,
        "epochs": 18,
        "image_size": 32,
    },
}


def recipe(dataset: str) -> TrialConfig:
    """Return the base config (variant 1) of a data set.

    A `folder:PATH` gets the chest report's protocol.
    """
    return TrialConfig(**{"dataset": dataset, **RECIPES.get(dataset, {})})


def fields_affecting(what: str) -> tuple[str, ...]:
    """Return the names of the config fields that affect one of `AFFECTS`, as declared."""
    specs = dataclasses.fields(TrialConfig)
    return tuple(spec.name for spec in specs if what in spec.metadata["affects"])


def parse_value(name: str, text: str) -> Any:
    """Parse a command-line string as the value of a field.

    Raises:
        ConfigError: the field is unknown, or the text is not of its type.
    """
    specs = {spec.name: spec for spec in dataclasses.fields(TrialConfig)}
    if name not in specs:
        raise ConfigError(f"{name} is not a field of the config: choose from {', '.join(specs)}")
    field_type: Any = type(specs[name].default)
    try:
        return field_type(text)
    except ValueError:
        kind = "a whole number" if field_type is int else "a number"
        raise ConfigError(f"{name}={text!r} is not {kind}") from None
