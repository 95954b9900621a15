"""The seven variants of each report, and the command line that trains a config."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from study.common.errors import ConfigError
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig


@dataclass(frozen=True)
class Variant:
    """One row of a report's table: the head and the learning rate.

    The learning rate is a multiple of the base config's.
    """

    number: int
    hidden_layers: int = 1
    dense_units: int = 8
    lr_factor: float = 1.0


VARIANTS = (
    Variant(1),
    Variant(2, dense_units=16),
    Variant(3, dense_units=32),
    Variant(4, hidden_layers=2),
    Variant(5, hidden_layers=3),
    Variant(6, lr_factor=5.0),
    Variant(7, lr_factor=10.0),
)


def variant_fields(number: int, base: TrialConfig) -> dict[str, Any]:
    """Return the config fields that variant `number` (1 to 7) sets.

    Args:
        number: of the variant, 1 to 7.
        base: the data set's base config, whose learning rate the variant multiplies.

    Raises:
        ConfigError: there is no such variant.
    """
    if number not in range(1, len(VARIANTS) + 1):
        raise ConfigError(f"variant={number} is unknown: use 1 to {len(VARIANTS)}")
    variant = VARIANTS[number - 1]
    return {
        "hidden_layers": variant.hidden_layers,
        "dense_units": variant.dense_units,
        # rounded, because 5 * 1e-5 is 5.000000000000001e-05
        "lr": float(f"{base.lr * variant.lr_factor:.6g}"),
    }


def resolve_config(dataset: str, variant: int | None, flags: dict[str, Any]) -> TrialConfig:
    """Return a trial's config.

    It is the recipe of `dataset`, changed by the variant and then by the flags.
    """
    base = recipe(dataset)
    changes = variant_fields(variant, base) if variant is not None else {}
    return base.replace(**{**changes, **flags})


def format_command(config: TrialConfig) -> str:
    """Return the command line that trains a config.

    It has a flag for each field that differs from the recipe.
    """
    return shlex.join(["python", "-m", "study.train", *format_flags(config)])


def format_flags(config: TrialConfig, *, leave_out: Sequence[str] = ()) -> list[str]:
    """Return the flags for the data set and for each difference from its recipe.

    Fields in `leave_out` get no flag.
    """
    words = ["--dataset", config.dataset]
    for name, value in config.differences().items():
        if name not in leave_out:
            words += ["--" + name.replace("_", "-"), str(value)]
    return words


def find_variant(config: TrialConfig) -> int | None:
    """Return the variant (1 to 7) that a config is, or None if it is none of them.

    The values of its fields count, not the flags that set them.
    """
    base = recipe(config.dataset)
    for variant in VARIANTS:
        fields = variant_fields(variant.number, base)
        if all(getattr(config, name) == value for name, value in fields.items()):
            return variant.number
    return None
