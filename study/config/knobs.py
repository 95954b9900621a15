"""Declare the fields of a config, and check their values."""

import dataclasses
import math
from dataclasses import field
from typing import Any

from study.common.errors import ConfigError

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


def check_value(spec: "dataclasses.Field[Any]", value: Any) -> None:
    """Check a value against the type and the limits of its field.

    Raises:
        ConfigError: the type is another, or the value is not allowed.
    """
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
