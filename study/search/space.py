"""Define which fields of a config a search may change, and within which bounds.

To search another field of `TrialConfig`, add a line to `make_ranges`, and its name to
`search_plan.SEARCHED_FIELDS`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.distributions import CategoricalDistribution
from optuna.distributions import distribution_to_json
from optuna.distributions import FloatDistribution
from optuna.distributions import IntDistribution

from study.common.errors import ConfigError
from study.config.backbones import BACKBONES
from study.config.names import MAX_STUDY_DATASET_LENGTH
from study.config.names import select_named_fields
from study.config.names import shorten_name
from study.config.trial_config import HIDDEN_LAYER_FIELDS
from study.config.trial_config import TrialConfig
from study.variants import variant_fields
from study.variants import VARIANTS

IMAGE_SIZES = (32, 48, 64, 96, 128, 160, 224, 299, 384, 512)  # pixels


def make_ranges(base: TrialConfig) -> dict[str, BaseDistribution]:
    """Return each field that may be searched, with its values.

    The values include those of every recipe.
    """
    return {
        "lr": FloatDistribution(base.lr / 10, base.lr * 30, log=True),
        "hidden_layers": IntDistribution(0, 3),
        "dense_units": IntDistribution(8, 128, log=True),
        "dropout": FloatDistribution(0.0, 0.7),
        "trainable": FloatDistribution(0.0, 1.0, step=0.1),  # smaller steps would change little
        "augment": FloatDistribution(0.0, 1.0, step=0.1),
        "label_smoothing": FloatDistribution(0.0, 0.2, step=0.05),
        "weight_decay": FloatDistribution(0.0, 0.3, step=0.01),
        "class_weights": CategoricalDistribution(["none", "balanced"]),
        "head": CategoricalDistribution(["flatten", "gap"]),
        "scaling": CategoricalDistribution(["1/255", "backbone"]),
        "image_size": CategoricalDistribution(_list_image_sizes(base)),
        "batch_size": IntDistribution(8, 64, log=True),
    }


def _list_image_sizes(base: TrialConfig) -> list[int]:
    """Return the config's size, and up to three smaller ones that the backbone takes."""
    min_size = BACKBONES[base.backbone].min_image_size
    smaller_sizes = [size for size in IMAGE_SIZES if min_size <= size < base.image_size]
    return [*smaller_sizes[-3:], base.image_size]


@dataclasses.dataclass(frozen=True)
class Space:
    """The configs of a search: `base` with the fields of `free` changed."""

    base: TrialConfig
    free: dict[str, BaseDistribution]

    def config(self, point: Mapping[str, Any]) -> TrialConfig:
        """Return the config at a point.

        Rates are rounded to 3 digits, and fields without effect are those of the base. So points
        that would train alike are one config, with one fingerprint.
        """
        changes = {
            name: float(f"{value:.3g}") if isinstance(value, float) else value
            for name, value in point.items()
        }
        if changes.get("hidden_layers", self.base.hidden_layers) == 0:
            changes = {
                name: value for name, value in changes.items() if name not in HIDDEN_LAYER_FIELDS
            }
        return self.base.replace(**changes)

    def point(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a config's fields that are searched."""
        return {name: values[name] for name in self.free}

    def describe(self, config: TrialConfig) -> str:
        """Describe the searched fields of a config, as `lr=5e-05 hidden_layers=2`."""
        return " ".join(f"{name}={getattr(config, name)}" for name in self.free)

    def starts(self) -> list[dict[str, Any]]:
        """Return the points of the seven variants.

        Variants that differ only in fixed fields are one point.
        """
        fields = [variant_fields(variant.number, self.base) for variant in VARIANTS]
        points = [self.point(self.base.as_dict() | changes) for changes in fields]
        return [point for i, point in enumerate(points) if point not in points[:i]]

    def shared_fields(self) -> dict[str, Any]:
        """Return the fields that all trials share."""
        return {name: value for name, value in self.base.as_dict().items() if name not in self.free}

    def name(self, *more: str) -> str:
        """Return the study's name, the same for the same fields, ranges and `more`."""
        free = {name: distribution_to_json(values) for name, values in self.free.items()}
        fields = select_named_fields(self.shared_fields())
        content = json.dumps([fields, self.point(self.base.as_dict()), free, *more])
        content_hash = hashlib.sha256(content.encode()).hexdigest()[:8]
        dataset = shorten_name(self.base.dataset, MAX_STUDY_DATASET_LENGTH)
        return f"search-{dataset}-{self.base.epochs}ep-{content_hash}"


def make_space(base: TrialConfig, fixed: Collection[str] = ()) -> Space:
    """Return the search space around `base`.

    It has all ranges but those of `fixed` fields and those with a single value.

    Raises:
        ConfigError: nothing is left to search.
    """
    free = {
        name: values
        for name, values in make_ranges(base).items()
        if name not in fixed and not values.single()
    }
    if not free:
        raise ConfigError("every field is fixed: leave at least one to be searched")
    return Space(base, free)
