"""Share flags and recipes among benchmarks, at image sizes that suit two cores."""

import argparse
from typing import Any

from study.config import recipe
from study.config import TrialConfig

SIZES = {"chest": 128, "blood": 96, "demo": 32}  # pixels


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser with `--dataset` and `--image-size`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    pixels = ", ".join(f"{size} for {name}" for name, size in SIZES.items())
    add("--dataset", choices=tuple(SIZES), default="chest", help="whose recipe [default: chest]")
    add("--image-size", type=int, help=f"pixels [default: {pixels}]")
    return parser


def config_of(args: argparse.Namespace, **fields: Any) -> TrialConfig:
    """Return the requested recipe with these fields, by default with random weights."""
    size = args.image_size or SIZES[args.dataset]
    return recipe(args.dataset).replace(**{"image_size": size, "weights": "none", **fields})
