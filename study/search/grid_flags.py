"""Make the plan of a grid from its command-line flags.

This module knows nothing of Optuna.
"""

import argparse
import dataclasses
import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from study.common.errors import ConfigError
from study.common.parser import parse_count
from study.common.parser import Parser
from study.config.dataset_names import resolve_dataset
from study.config.knobs import check_value
from study.config.sweep import format_value
from study.config.sweep import Sweep
from study.config.sweep import Value
from study.config.trial_config import HIDDEN_LAYER_FIELDS
from study.config.trial_config import parse_value
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.flags import config_from_flags
from study.search.grid_plan import BY_VARIANT
from study.search.grid_plan import GridPlan
from study.search.grid_plan import make_plan
from study.search.grid_plan import VARIANT_SWEEP

MAX_SEEDS = 1000
# What is not swept, and what to do instead
NOT_SWEPT = {
    "dataset": "repeat the command for each data set",
    "seed": "use --seeds for the number of seeds",
    "fold": "use --folds, which trains every fold",
    "folds": "give one number to --folds",
    "variant": "without --sweep, the grid trains the seven variants",
}


def add_sweep_flags(parser: Parser) -> None:
    """Add `--sweep` and `--baseline`, the values that a grid compares."""
    add = parser.add_argument_group("compare values of your own, not the variants").add_argument
    add(
        "--sweep",
        action="append",
        default=[],
        metavar="FIELD=V1,V2",
        help="train each of these values of a config field; repeat it for more fields, whose "
        "values are all combined",
    )
    add(
        "--baseline",
        action="append",
        default=[],
        metavar="FIELD=V",
        help="the values that the others are compared with, such as lr=1e-5,head=gap [default: "
        "those of the data set's recipe, or else the first]",
    )


def add_seeds_flag(parser: Parser) -> None:
    """Add the flag `--seeds`, the number of trainings of each config."""
    parser.add_argument(
        "--seeds", metavar="N", help="train each config with N seeds, from --seed on [default: 1]"
    )


def plan_grid(args: argparse.Namespace) -> GridPlan:
    """Return the plan that the parsed flags name.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """
    every_fold = args.fold is None and args.folds not in (None, "0")
    if every_fold:
        args.fold = "1"
    _refuse_lists(args)
    if args.sweep:
        sweep = parse_sweep(args.sweep, args.baseline, resolve_dataset(args.dataset or "demo"))
        base = config_from_flags(_set_first_values(args, sweep))
        _refuse_values_without_effect(sweep, base)
    else:
        _refuse_flags_of_sweeps(args)
        sweep = VARIANT_SWEEP
        base = config_from_flags(args)
    seeds = None if args.seeds is None else parse_count("seeds", args.seeds, MAX_SEEDS)
    plan = make_plan(base, sweep, seeds, every_fold=every_fold)
    plan.make_configs()  # raises if the values contradict each other
    return plan


def _refuse_values_without_effect(sweep: Sweep, base: TrialConfig) -> None:
    """Raise ConfigError if some cells would differ only in fields that change nothing."""
    if 0 not in sweep.fields.get("hidden_layers", (base.hidden_layers,)):
        return
    for name in HIDDEN_LAYER_FIELDS:
        if len(sweep.fields.get(name, ())) > 1:
            raise ConfigError(
                f"{name} changes nothing where hidden_layers=0: sweep it with hidden_layers from 1"
                " on, and train hidden_layers=0 by itself"
            )


def _refuse_lists(args: argparse.Namespace) -> None:
    """Raise ConfigError if a flag has several values for a field."""
    for spec in dataclasses.fields(TrialConfig):
        text = getattr(args, spec.name)
        if text is not None and "," in text and spec.name not in ("dataset", "weights"):
            flag = "--" + spec.name.replace("_", "-")
            advice = NOT_SWEPT.get(spec.name, f"use --sweep {spec.name}={text} to compare several")
            raise ConfigError(f"{flag} takes one value, not {text!r}: {advice}")


def _refuse_flags_of_sweeps(args: argparse.Namespace) -> None:
    """Raise ConfigError if a flag makes no sense with the seven variants."""
    for name in BY_VARIANT:
        text = getattr(args, name)
        if text is not None:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{flag} is not for the seven variants, which set {name} themselves: use "
                f"--sweep {name}={text}, with commas between values to compare"
            )
    if args.baseline:
        raise ConfigError(
            "--baseline goes with --sweep, such as --sweep lr=1e-5,5e-5: the seven variants are "
            "always compared with variant 1"
        )


def parse_sweep(sweep_texts: Sequence[str], baseline_texts: Sequence[str], dataset: str) -> Sweep:
    """Return the sweep that the two flags name.

    Args:
        sweep_texts: such as `["lr=1e-5,5e-5", "head=gap,flatten batch_size=16,32"]`.
        baseline_texts: such as `["lr=1e-5,head=gap"]`.
        dataset: whose recipe the baseline follows where the flag leaves it open.

    Raises:
        ConfigError: a field is unknown or not to be swept, a value is wrong or given twice, or the
            baseline is not among the values.
    """
    fields: dict[str, tuple[Value, ...]] = {}
    for name, text in _split_assignments("--sweep", sweep_texts):
        if name in fields:
            raise ConfigError(f"--sweep {name} is given twice: put all its values into one")
        fields[name] = _parse_values(name, text)
    chosen: dict[str, Value] = {}
    for name, text in _split_assignments("--baseline", baseline_texts):
        if name in chosen:
            raise ConfigError(f"--baseline {name} is given twice: name one value")
        chosen[name] = _parse_baseline(name, text, fields)
    recipe_values = recipe(dataset).as_dict()
    defaults = {
        name: recipe_values[name] if recipe_values[name] in values else values[0]
        for name, values in fields.items()
    }
    return Sweep(fields, defaults | chosen, chosen)


def _split_assignments(flag: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each `name=text`, between blanks or commas."""
    for text in texts:
        for word in re.split(r"[,\s]+(?=[\w-]+=)", text.strip()):
            name, equals, value = word.partition("=")
            if not equals:
                raise ConfigError(f"{flag} {word}: write it as name=value, such as {flag} lr=1e-5")
            yield name.strip().replace("-", "_"), value


def _parse_values(name: str, text: str) -> tuple[Value, ...]:
    if name in NOT_SWEPT:
        raise ConfigError(f"--sweep {name}: {name} cannot be swept; {NOT_SWEPT[name]}")
    values = [_parse_value(name, part.strip()) for part in text.split(",")]
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ConfigError(f"--sweep {name}: the value {format_value(value)} is given twice")
    return tuple(values)


def _parse_value(name: str, text: str) -> Value:
    value: Value = parse_value(name, text)
    specs = {spec.name: spec for spec in dataclasses.fields(TrialConfig)}
    check_value(specs[name], value)
    return value


def _parse_baseline(name: str, text: str, fields: Mapping[str, tuple[Value, ...]]) -> Value:
    if name not in fields:
        raise ConfigError(f"--baseline {name}: not swept; add --sweep {name}={text},...")
    value = _parse_value(name, text.strip())
    if value not in fields[name]:
        values = ", ".join(format_value(each) for each in fields[name])
        raise ConfigError(
            f"--baseline {name}={text.strip()} is not in the grid: choose one of {values}"
        )
    return value


def _set_first_values(args: argparse.Namespace, sweep: Sweep) -> argparse.Namespace:
    """Return the flags with each swept field at its first value.

    Raises:
        ConfigError: a swept field has a flag of its own.
    """
    for name in sweep.fields:
        if getattr(args, name) is not None:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} contradicts --sweep {name}: leave one of them out")
    first_values = {name: str(values[0]) for name, values in sweep.fields.items()}
    return argparse.Namespace(**{**vars(args), **first_values})
