"""What every command shares: flags made from the config, `.env`, and errors without a traceback."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from study.common.command import Parser
from study.common.errors import ConfigError
from study.config import parse_value
from study.config import recipe
from study.config import RECIPES
from study.config import TrialConfig
from study.variants import resolve
from study.variants import VARIANTS


def add_config_flags(parser: Parser, *, leave_out: Sequence[str] = ()) -> None:
    """One flag for each config field, with unit, allowed values and each recipe's default."""
    group = parser.add_argument_group("config (one field each)")
    for spec in dataclasses.fields(TrialConfig):
        if spec.name in leave_out:
            continue
        text = f"{spec.metadata['help']}{_allowed(spec)} [default: {_defaults(spec.name)}]"
        group.add_argument(
            "--" + spec.name.replace("_", "-"), metavar="X", help=text.replace("%", "%%")
        )


def _allowed(spec: "dataclasses.Field[Any]") -> str:
    if "choices" in spec.metadata:
        return f" ({', '.join(str(choice) for choice in spec.metadata['choices'])})"
    if "low" in spec.metadata:
        return f" ({spec.metadata['low']:g} to {spec.metadata['high']:g})"
    return ""


def _defaults(name: str) -> str:
    if name == "dataset":
        return "demo"
    common = getattr(recipe("folder:x"), name)
    others = {dataset: getattr(recipe(dataset), name) for dataset in RECIPES}
    differing = [f"{value} for {key}" for key, value in others.items() if value != common]
    return ", ".join([str(common), *differing])


def add_variant_flag(parser: Parser) -> None:
    """`--variant`, one of the reports' seven."""
    parser.add_argument(
        "--variant", metavar="N", help=f"one of the reports' variants, 1 to {len(VARIANTS)}"
    )


def add_trial_flags(parser: Parser) -> None:
    """What changes how a trial is run but not its numbers."""
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


def config_from(args: argparse.Namespace) -> TrialConfig:
    """The config that the parsed flags name.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """
    given = {key: value for key, value in vars(args).items() if value is not None}
    names = [spec.name for spec in dataclasses.fields(TrialConfig)]
    flags = {name: parse_value(name, given[name]) for name in names if name in given}
    variant = _variant(given["variant"]) if "variant" in given else None
    return resolve(flags.pop("dataset", "demo"), variant, flags)


def _variant(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"variant={text!r} is unknown: use 1 to {len(VARIANTS)}") from None
