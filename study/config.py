"""A trial's config: every knob, its unit, its allowed values, and the fingerprint.

    python -m study.train --dataset demo --variant 2

A config is resolved in three steps: the recipe of the data set gives the defaults, a variant
changes some of them, and flags change others. Nothing here knows Keras, MLflow or Optuna.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from pathlib import PurePath
from typing import Any

from study.common.errors import ConfigError
from study.weights import compare_with_published
from study.weights import hash_file
from study.weights import WeightsComparison

# Part of every fingerprint. Raise it when a change of the code changes the numbers that a config
# trains to, so that runs of the old code are never taken for runs of the new code.
PROTOCOL_VERSION = 2


@dataclass(frozen=True)
class Backbone:
    """The properties of a Keras application that a config needs."""

    title: str  # its name in tables
    min_image_size: int  # pixels, the least that `include_top=False` accepts
    # MD5 of the published `no_top` files, from the source code of keras.applications
    published_md5: tuple[str, ...] = ()


BACKBONES = {
    "mobilenet": Backbone("MobileNet", 32, ("f313cee49f5d33dfb06f2b255c4adb64",)),
    "inception_v3": Backbone("InceptionV3", 75, ("bcbd6486424b2319ff4ef7d526e38f63",)),
    "xception": Backbone("Xception", 71, ("b0042744bf5b25fce3cb969f33bebb97",)),
    "resnet50": Backbone("ResNet50", 32, ("4d473c1dd8becc155b73f8504c6f6626",)),
    "vgg16": Backbone("VGG16", 32, ("6d6bbae143d832006294945121d1f1fc",)),
}
MOBILENET_ALPHAS = (0.25, 0.5, 0.75, 1.0)
MAX_TITLE_LENGTH = 80  # characters
MAX_DATA_NAME_LENGTH = 100  # characters; MLflow has room for titles of 250
# Characters of a data set's name in the name of an experiment or a study. MLflow has room for 256
# in all, and Optuna for 512.
MAX_EXPERIMENT_LENGTH = 250
MAX_STUDY_DATASET_LENGTH = 400
# Fields that a title always shows, in its own notation
TITLE_FIELDS = ("head", "hidden_layers", "dense_units", "lr", "seed", "fold", "folds")


# What a field may affect: which images are used and how, the backbone's graph and first weights,
# the program that JAX compiles, and all else about training
AFFECTS = ("images", "backbone", "program", "training")


def knob(default: Any, help: str, *, affects: str, **limits: Any) -> Any:
    """Make a config field with its help, what it affects, and its allowed values.

    Args:
        default: its type is the field's type.
        help: one line.
        affects: some of `AFFECTS`, with spaces between them.
        limits: `choices`, or `low` and `high`, both inclusive.
    """
    return field(default=default, metadata={"help": help, "affects": affects.split(), **limits})


@dataclass(frozen=True)
class TrialConfig:
    """The config of a trial.

    Together with the images, it decides all of the trial's numbers. It is immutable, and checked
    when it is made.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """

    dataset: str = knob(
        "demo", "chest, blood, demo, or folder:PATH (one folder per class)", affects="images"
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
            _check_value(spec, getattr(self, spec.name))
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
        """Return the head in the reports' notation, for example `F - D(8) - D(8)`."""
        start = {"flatten": "F", "gap": "GAP"}[self.head]
        return " - ".join([start] + [f"D({self.dense_units})"] * self.hidden_layers)

    @property
    def title(self) -> str:
        """Return the trial's name, such as `blood · D(8)·D(8) · 1e-5 · seed 2 · fold 1/5`.

        Other differences from the recipe follow, such as ` · dropout=0.2`, as far as they fit into
        `MAX_TITLE_LENGTH`. Published weights count as no difference, even if they come from a file.
        """
        pooling = ["GAP"] if self.head == "gap" else []
        head = pooling + [f"D({self.dense_units})"] * self.hidden_layers
        digits, _, power = f"{self.lr:.3e}".partition("e")
        rate = f"{float(digits):g}e{int(power)}"
        title = f"{data_name(self.dataset)} · {'·'.join(head) or 'F'} · {rate} · seed {self.seed}"
        if self.folds > 0:
            title += f" · fold {self.fold}/{self.folds}"
        hidden_fields = {"weights"} if _starts_from_published(self) else set()
        differences = self.differences()
        return _append_differences(
            title, {name: value for name, value in differences.items() if name not in hidden_fields}
        )

    def differences(self) -> dict[str, Any]:
        """Return the fields, with their values, that differ from the data set's recipe."""
        defaults = recipe(self.dataset).as_dict()
        return {name: value for name, value in self.as_dict().items() if value != defaults[name]}


def data_name(dataset: str) -> str:
    """Return a data set's short name: `blood`, or the last part of a `folder:PATH`."""
    kind, _, path = dataset.partition(":")
    name = PurePath(path.strip()).name or "folder" if kind == "folder" else dataset
    return shorten_name(name, MAX_DATA_NAME_LENGTH)


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


def _check_value(spec: "dataclasses.Field[Any]", value: Any) -> None:
    field_type: type[Any] = type(spec.default)
    if type(value) is not field_type:
        raise ConfigError(f"{spec.name}={value!r} is not of type {field_type.__name__}")
    choices = spec.metadata.get("choices")
    if choices is not None and value not in choices:
        names = ", ".join(str(choice) for choice in choices)
        raise ConfigError(f"{spec.name}={value!r} is unknown: choose one of {names}")
    if "low" in spec.metadata:
        low = spec.metadata["low"]
        high = spec.metadata["high"]
        if not math.isfinite(value) or not low <= value <= high:
            raise ConfigError(f"{spec.name}={value} is out of range: use {low} to {high}")
    if spec.name == "dataset" and value not in RECIPES:
        _check_folder(value)


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


def _check_folder(dataset: str) -> None:
    prefix, _, path = dataset.partition(":")
    if prefix != "folder":
        raise ConfigError(
            f"dataset={dataset!r} is unknown: choose one of {', '.join(RECIPES)}, or folder:PATH"
        )
    if not path.strip():
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


def fields_affecting(what: str) -> tuple[str, ...]:
    """Return the names of the config fields that affect one of `AFFECTS`, as declared."""
    specs = dataclasses.fields(TrialConfig)
    return tuple(spec.name for spec in specs if what in spec.metadata["affects"])


def recipe(dataset: str) -> TrialConfig:
    """Return the base config (variant 1) of a data set.

    A `folder:PATH` gets the chest report's protocol.
    """
    return TrialConfig(**{"dataset": dataset, **RECIPES.get(dataset, {})})


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
        raise ConfigError(f"{name}={text!r} is not of type {field_type.__name__}") from None


def weights_kind(config: TrialConfig) -> str:
    """Name the weights that the backbone starts from.

    A file counts as `imagenet` only if all its tensors are the published ones, and as `partial` if
    some of them are. Where the published tensors are not known, a file counts as `partial` if that
    word is a part of its name between dots.

    Returns:
        `imagenet`, `none`, `partial` or `file`.
    """
    if config.weights in ("imagenet", "none"):
        return config.weights
    if _starts_from_published(config):
        return "imagenet"
    comparison = compare_weights(config)
    if comparison is None:
        return "partial" if "partial" in Path(config.weights).name.split(".") else "file"
    return "partial" if comparison.equal else "file"


def compare_weights(config: TrialConfig) -> WeightsComparison | None:
    """Count the tensors of a config's weights file that equal the published ones.

    Returns:
        None if there is no file, or the backbone's published tensors are not known here.
    """
    if config.weights in ("imagenet", "none"):
        return None
    return compare_with_published(Path(config.weights), config.backbone, config.alpha)


def _starts_from_published(config: TrialConfig) -> bool:
    if config.weights in ("imagenet", "none"):
        return config.weights == "imagenet"
    comparison = compare_weights(config)
    if comparison is not None:
        return comparison.equal == comparison.total
    return hash_file(Path(config.weights), "md5") in BACKBONES[config.backbone].published_md5


def fingerprint(config: TrialConfig, data_digest: str) -> str:
    """Return a SHA-256 (64 hex digits) of all that decides a trial's numbers.

    Contents count, paths do not: a folder enters by its data digest, and a weights file by its own
    digest, or as `imagenet` if its tensors are the published ones. A field at its declared default
    is left out, so that a knob added later does not change the fingerprints of earlier runs.
    """
    defaults = {spec.name: spec.default for spec in dataclasses.fields(config)}
    content = {k: v for k, v in config.as_dict().items() if v != defaults[k]}
    content["dataset"] = config.dataset.split(":", 1)[0]
    if _starts_from_published(config):
        content.pop("weights", None)  # like the default, `imagenet`
    elif config.weights != "none":
        content["weights"] = "sha256:" + hash_file(Path(config.weights), "sha256")
    content |= {"data_digest": data_digest, "protocol_version": PROTOCOL_VERSION}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
