"""Command-line flags: one for each config field, and others that commands share."""

import argparse
import dataclasses
import functools
import re
import sys
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.common.errors import ConfigError
from study.common.folder_names import get_folder_path
from study.common.folder_names import make_folder_name
from study.common.parser import Parser
from study.common.paths import list_writes_inside
from study.config.dataset_names import resolve_dataset
from study.config.sweep import format_value
from study.config.trial_config import parse_value
from study.config.trial_config import recipe
from study.config.trial_config import RECIPES
from study.config.trial_config import TrialConfig
from study.variants import resolve_config
from study.variants import variant_fields
from study.variants import VARIANTS


def add_config_flags(parser: Parser, *, leave_out: Sequence[str] = ()) -> None:
    """Add a flag for each config field.

    Its help has the unit, the allowed values and each recipe's default.
    """
    group = parser.add_argument_group("config (one field each)")
    for spec in dataclasses.fields(TrialConfig):
        if spec.name in leave_out:
            continue
        text = (
            f"{spec.metadata['help']}{_format_allowed_values(spec)} "
            f"[default: {_format_defaults(spec.name)}]"
        )
        group.add_argument(
            "--" + spec.name.replace("_", "-"), metavar="X", help=text.replace("%", "%%")
        )


def _format_allowed_values(spec: "dataclasses.Field[Any]") -> str:
    if "choices" in spec.metadata:
        return f" ({', '.join(str(choice) for choice in spec.metadata['choices'])})"
    if "low" in spec.metadata:
        low, high = (_format_bound(spec.metadata[name]) for name in ("low", "high"))
        return f" ({low} to {high})"
    return ""


def _format_bound(value: float) -> str:
    """Return a bound with all digits of a whole number, as `2147483647`."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _format_defaults(name: str) -> str:
    if name == "dataset":
        return "demo"
    return _format_recipe_values(lambda dataset: str(getattr(recipe(dataset), name)))


def _format_recipe_values(get_value: Callable[[str], str]) -> str:
    """Format the value for folders, and those of named data sets that differ."""
    common = get_value(make_folder_name("x"))
    values = {dataset: get_value(dataset) for dataset in RECIPES}
    exceptions = [f"{value} for {key}" for key, value in values.items() if value != common]
    return ", ".join([common, *exceptions])


def add_variant_flag(parser: Parser) -> None:
    """Add `--variant`, the number of one of the reports' seven variants."""
    parser.add_argument(
        "--variant",
        metavar="N",
        help=f"one of the reports' variants, 1 to {len(VARIANTS)}, which are listed below",
    )
    add_variant_list(parser)


def add_variant_list(parser: Parser) -> None:
    """End the help with the heads and learning rates of the seven variants."""
    lines = ["the seven variants, where D(8) is a dense layer of 8 units before the softmax:"]
    for variant in VARIANTS:
        head = "·".join([f"D({variant.dense_units})"] * variant.hidden_layers)
        rates = _format_recipe_values(functools.partial(_format_rate, variant.number))
        lines.append(f"  {variant.number}  {head:<14} lr {rates}")
    parser.epilog = "\n".join(lines)


def _format_rate(variant: int, dataset: str) -> str:
    return format_value(variant_fields(variant, recipe(dataset))["lr"])


def add_trial_flags(parser: Parser) -> None:
    """Add the flags that change how a trial is run but not its numbers."""
    parser.add_argument(
        "--no-cache", action="store_true", help="keep decoded images in memory, not on disk"
    )
    parser.add_argument(
        "--log-model", action="store_true", help="log the trained model, too (17 to 90 MB a run)"
    )
    parser.add_argument(
        "--register",
        action="store_true",
        help="log the model, and put that of the best run into MLflow's registry",
    )
    parser.add_argument(
        "--name",
        metavar="MODEL",
        help="with --register: the model's name, instead of that of its data set (chest, or "
        "cells-3f2a9c for a folder)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="with --register: do so even if the model is no better than chance, or the win of a "
        "search did not repeat",
    )


def check_register_flags(args: argparse.Namespace) -> None:
    """Check the flags that go with `--register`.

    Raises:
        ConfigError: one of them is given without it, or the name is not one for a model.
    """
    if args.force and not args.register:
        raise ConfigError("--force is for --register: add --register, or leave out --force")
    if args.name is None:
        return
    if not args.register:
        raise ConfigError(f"--name {args.name} names a model to register: add --register")
    if not re.fullmatch(r"[\w-]{1,100}", args.name):
        raise ConfigError(
            f"name={args.name!r} cannot name a model: use up to 100 letters, digits, _ and -"
        )


def config_from_flags(args: argparse.Namespace) -> TrialConfig:
    """Return the config that the parsed flags name.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """
    texts = {key: value for key, value in vars(args).items() if value is not None}
    names = [spec.name for spec in dataclasses.fields(TrialConfig)]
    flags = {name: parse_value(name, texts[name]) for name in names if name in texts}
    variant = _parse_variant(texts["variant"]) if "variant" in texts else None
    dataset = resolve_dataset(str(flags.pop("dataset", "demo")))
    _note_writes_inside(dataset)
    return resolve_config(dataset, variant, flags)


def _note_writes_inside(dataset: str) -> None:
    """Say on stderr what the command would write into the data set's own folder."""
    path = get_folder_path(dataset)
    writes = list_writes_inside(Path(path)) if path else []
    if writes:
        print(
            f"note: the study writes into the data set, {', '.join(writes)}. None of these is "
            "taken for a class; to keep them apart, run the command in another folder",
            file=sys.stderr,
        )


def _parse_variant(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"variant={text!r} is unknown: use 1 to {len(VARIANTS)}") from None
