"""One trial's configuration: every knob, its unit, its allowed values, and the fingerprint.

    python -m study.train --dataset demo --variant 2

A config is resolved in three steps: the recipe of the data set gives the defaults, a variant
changes one thing, a flag changes another. Nothing here knows Keras, MLflow or Optuna.
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
from study.weights import Comparison

# Part of every fingerprint. Raise it when the same config would train to other numbers than before,
# so that runs of the old code are never taken for runs of the new.
PROTOCOL_VERSION = 2


@dataclass(frozen=True)
class Backbone:
    """What a config must know of a Keras application: its name in tables and its size limits."""

    title: str
    min_image_size: int  # pixels, the least that `include_top=False` accepts
    # MD5 of the published `no_top` files, as in keras.applications' sources
    published_md5: tuple[str, ...] = ()


BACKBONES = {
    "mobilenet": Backbone("MobileNet", 32, ("f313cee49f5d33dfb06f2b255c4adb64",)),
    "inception_v3": Backbone("InceptionV3", 75, ("bcbd6486424b2319ff4ef7d526e38f63",)),
    "xception": Backbone("Xception", 71, ("b0042744bf5b25fce3cb969f33bebb97",)),
    "resnet50": Backbone("ResNet50", 32, ("4d473c1dd8becc155b73f8504c6f6626",)),
    "vgg16": Backbone("VGG16", 32, ("6d6bbae143d832006294945121d1f1fc",)),
}
MOBILENET_ALPHAS = (0.25, 0.5, 0.75, 1.0)
LONGEST_TITLE = 80  # characters
TITLED = ("head", "hidden_layers", "dense_units", "lr", "seed", "fold", "folds")


def knob(default: Any, help: str, **limits: Any) -> Any:
    """A config field with its one-line help and its allowed values (`choices`, `low`, `high`)."""
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class TrialConfig:
    """Everything that decides a trial's numbers, given the images. Immutable; checked when made."""

    dataset: str = knob("demo", "chest, blood, demo, or folder:PATH (one folder per class)")
    backbone: str = knob("mobilenet", "ImageNet CNN to fine-tune", choices=tuple(BACKBONES))
    alpha: float = knob(1.0, "width of MobileNet's layers", choices=MOBILENET_ALPHAS)
    weights: str = knob("imagenet", "imagenet, none, or a weights file (.h5) of the backbone")
    bn_momentum: float = knob(
        0.99, "momentum of batch normalization's moving averages", low=0.0, high=0.9999
    )
    head: str = knob("flatten", "what joins backbone and dense layers", choices=("flatten", "gap"))
    hidden_layers: int = knob(1, "dense layers before the softmax", low=0, high=8)
    dense_units: int = knob(8, "units of each hidden dense layer", low=1, high=4096)
    dropout: float = knob(0.5, "dropout rate after each hidden layer", low=0.0, high=0.95)
    trainable: float = knob(
        1.0, "share of the backbone's layers that train, the last ones; 0 trains the head only",
        low=0.0, high=1.0,
    )  # fmt: skip
    augment: float = knob(
        0.0, "random flip, and at 1 turn by 36 degrees, zoom by 20%, shift by 10%, contrast by 50%",
        low=0.0, high=1.0,
    )  # fmt: skip
    label_smoothing: float = knob(
        0.0, "share of the label's probability spread over all classes, in the training loss only",
        low=0.0, high=0.5,
    )  # fmt: skip
    weight_decay: float = knob(
        0.0, "share of each kernel that Adam takes away at every step, times lr", low=0.0, high=1.0
    )
    lr: float = knob(1e-5, "Adam's learning rate", low=1e-8, high=1.0)
    batch_size: int = knob(32, "images per step", low=1, high=4096)
    epochs: int = knob(30, "passes over the training images, at most", low=1, high=10_000)
    patience: int = knob(
        0, "stop after this many epochs without a lower val_loss; 0 never stops early", low=0,
        high=10_000,
    )  # fmt: skip
    image_size: int = knob(224, "height and width in pixels", low=32, high=1024)
    scaling: str = knob(
        "1/255", "1/255 as in the reports, or the backbone's own", choices=("1/255", "backbone")
    )
    split: str = knob(
        "pooled", "how images part into train, val and test",
        choices=("pooled", "official", "grouped"),
    )  # fmt: skip
    fold: int = knob(0, "which of the folds is the test set; 0 without folds", low=0, high=1000)
    folds: int = knob(
        0, "cross-validate the grouped split in this many folds, 2 or more; 0 does not", low=0,
        high=1000,
    )  # fmt: skip
    limit: int = knob(
        0, "use about this many images, class shares kept; 0 uses all", low=0, high=100_000_000
    )
    seed: int = knob(
        0, "seed of split, initial head, shuffling, dropout and augment", low=0, high=2**31 - 1
    )
    precision: str = knob(
        "float32", "dtype of the computation",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            _check(spec, getattr(self, spec.name))
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
        """A checked copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Field names to plain values, in the order of declaration."""
        return dataclasses.asdict(self)

    @property
    def head_notation(self) -> str:
        """The reports' notation, for example `F - D(8) - D(8)`."""
        start = {"flatten": "F", "gap": "GAP"}[self.head]
        return " - ".join([start] + [f"D({self.dense_units})"] * self.hidden_layers)

    @property
    def title(self) -> str:
        """A trial's name, as `blood · D(8)·D(8) · 1e-5 · seed 2 · fold 1/5 · dropout=0.2`.

        At the end is what else differs from the recipe, as far as it fits into `LONGEST_TITLE`.
        """
        head = ["GAP"] * (self.head == "gap") + [f"D({self.dense_units})"] * self.hidden_layers
        digits, _, power = f"{self.lr:.3e}".partition("e")
        rate = f"{float(digits):g}e{int(power)}"
        fold = f" · fold {self.fold}/{self.folds}" * (self.folds > 0)
        title = f"{data_name(self.dataset)} · {'·'.join(head) or 'F'} · {rate} · seed {self.seed}"
        published = {"weights"} if _starts_from_published(self) else set()
        differences = self.differences()
        return _extended(title + fold, {k: v for k, v in differences.items() if k not in published})

    def differences(self) -> dict[str, Any]:
        """The fields that are not as in the recipe of the data set."""
        usual = recipe(self.dataset).as_dict()
        return {name: value for name, value in self.as_dict().items() if value != usual[name]}


def data_name(dataset: str) -> str:
    """A data set's name: `blood`, or the last part of a `folder:PATH`."""
    kind, _, path = dataset.partition(":")
    return PurePath(path.strip()).name or "folder" if kind == "folder" else dataset


def _extended(title: str, differences: dict[str, Any]) -> str:
    more = [
        # a weights file's path is nobody else's business
        f"{name}={'file' if name == 'weights' and value != 'none' else value}"
        for name, value in differences.items()
        if name not in TITLED
    ]
    for i, each in enumerate(more, start=1):
        longer = f"{title}{' · ' if i == 1 else ' '}{each}"
        if len(longer) > LONGEST_TITLE - 2 * (i < len(more)):  # room for the dots
            return f"{title} …"
        title = longer
    return title


def _check(spec: "dataclasses.Field[Any]", value: Any) -> None:
    wanted: type[Any] = type(spec.default)
    if type(value) is not wanted:
        raise ConfigError(f"{spec.name}={value!r} is not of type {wanted.__name__}")
    choices = spec.metadata.get("choices")
    if choices is not None and value not in choices:
        listed = ", ".join(str(c) for c in choices)
        raise ConfigError(f"{spec.name}={value!r} is unknown: choose one of {listed}")
    if "low" in spec.metadata:
        low, high = spec.metadata["low"], spec.metadata["high"]
        if not math.isfinite(value) or not low <= value <= high:
            raise ConfigError(f"{spec.name}={value} is out of range: use {low} to {high}")
    if spec.name == "dataset" and value not in RECIPES:
        _check_folder(value)


def _check_folds(config: TrialConfig) -> None:
    fold, folds = config.fold, config.folds
    if folds == 1:
        raise ConfigError("folds=1 tests on all images: use 2 to 1000, or 0 for no folds")
    if fold and not folds:
        raise ConfigError(f"fold={fold} says not of how many: add folds, such as folds=5")
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
        raise ConfigError("dataset=folder: names no path: write folder:PATH")


# What a data set changes of the defaults above, which are those of the chest report.
RECIPES: dict[str, dict[str, Any]] = {
    "chest": {},
    "blood": {"backbone": "inception_v3"},
    # Trained from scratch in seconds: small pictures, small batches, and a short memory for the
    # batch statistics: 450 steps are too few for Keras' momentum of 0.99.
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
    """The base config (variant 1) of a data set; a folder gets the chest report's protocol."""
    return TrialConfig(**{"dataset": dataset, **RECIPES.get(dataset, {})})


def parse_value(name: str, text: str) -> Any:
    """A field's value from a command-line string.

    Raises:
        ConfigError: the field is unknown or the text is not of its type.
    """
    specs = {spec.name: spec for spec in dataclasses.fields(TrialConfig)}
    if name not in specs:
        raise ConfigError(f"{name} is no field of the config: choose from {', '.join(specs)}")
    wanted: Any = type(specs[name].default)
    try:
        return wanted(text)
    except ValueError:
        raise ConfigError(f"{name}={text!r} is not of type {wanted.__name__}") from None


def weights_kind(config: TrialConfig) -> str:
    """Name what the backbone starts from: `imagenet`, `none`, `partial` or `file`.

    A file counts as `imagenet` only if its tensors are the published ones, and as `partial` if some
    of them are. Where the published tensors are not known, `partial` in its name is believed.
    """
    if config.weights in ("imagenet", "none"):
        return config.weights
    if _starts_from_published(config):
        return "imagenet"
    comparison = compare_weights(config)
    if comparison is None:
        return "partial" if "partial" in Path(config.weights).name.split(".") else "file"
    return "partial" if comparison.equal else "file"


def compare_weights(config: TrialConfig) -> Comparison | None:
    """Count the tensors of a config's weights file that equal the published ones.

    None if there is no file, or what was published for the backbone is not known here.
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
    return _file_digest(Path(config.weights), "md5") in BACKBONES[config.backbone].published_md5


def fingerprint(config: TrialConfig, data_digest: str) -> str:
    """SHA-256 (64 hex digits) of what decides a trial's numbers.

    Paths do not count, contents do: a folder enters by its data digest, a weights file by its own,
    or as `imagenet` if its tensors are the published ones.
    A field at its declared default is left out, so that a knob added later leaves the fingerprints
    of earlier runs as they were.
    """
    defaults = {spec.name: spec.default for spec in dataclasses.fields(config)}
    content = {k: v for k, v in config.as_dict().items() if v != defaults[k]}
    content["dataset"] = config.dataset.split(":", 1)[0]
    if _starts_from_published(config):
        content.pop("weights", None)  # as with the default, `imagenet`
    elif config.weights != "none":
        content["weights"] = "sha256:" + _file_digest(Path(config.weights), "sha256")
    content |= {"data_digest": data_digest, "protocol_version": PROTOCOL_VERSION}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _file_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
