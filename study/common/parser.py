"""Parse the flags of a command, with errors of one line."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

from study.common.errors import ConfigError
from study.common.errors import StudyError

# Messages of argparse, as patterns, and the same in plain words
ARGPARSE_MESSAGES = {
    r"^argument (\S+): expected one argument$": r"\1 needs a value",
    r"^argument (\S+): invalid choice: (.*) \(choose from (.*)\)$": (
        r"\1 \2 is unknown: choose one of \3"
    ),
    r"^the following arguments are required: ": "missing: ",
}


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors, which accepts `--image_size` too.

    `mlflow run . -P image_size=96` passes parameters on with underscores.
    """

    def __init__(self, description: str, module: str) -> None:
        super().__init__(
            prog=f"python -m {module}",
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise the message in plain words, instead of printing the whole usage before it."""
        for pattern, words in ARGPARSE_MESSAGES.items():
            message = re.sub(pattern, words, message)
        raise StudyError(f"{message}; see {self.prog} --help")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse the arguments, reading `_` in option names as `-`."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([_replace_underscores(word) for word in words], namespace)


def _replace_underscores(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def parse_count(name: str, text: str, high: int, *, low: int = 1) -> int:
    """Return a flag's whole number, from `low` to `high`.

    Raises:
        ConfigError: it is not a whole number, or out of range.
    """
    if not re.fullmatch(r"-?\d+", text):
        raise ConfigError(f"{name}={text!r} is not a whole number: use {low} to {high}")
    return int(parse_number(name, text, low, high))


def parse_number(name: str, text: str, low: float, high: float) -> float:
    """Return a flag's number, from `low` to `high`.

    Raises:
        ConfigError: it is not a number, or out of range.
    """
    try:
        number = float(text)
    except ValueError:
        raise ConfigError(f"{name}={text!r} is not a number: use {low} to {high}") from None
    if not low <= number <= high:
        raise ConfigError(f"{name}={text!r} is out of range: use {low} to {high}")
    return number
