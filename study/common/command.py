"""Run a command: parser, `.env`, signals, exit codes, and errors without a traceback."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NoReturn

from study.common.errors import StudyError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line, and that takes `--image_size` too.

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
        """Raise the message instead of printing the whole usage before it."""
        raise StudyError(f"{message}; see {self.prog} --help")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse, with `_` in option names read as `-`."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([_dashed(word) for word in words], namespace)


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def run_command(main: Callable[[], None]) -> int:
    """Run a command: exit code 0, 2 after an error the user can act on, 130 after Ctrl-C.

    SIGTERM, which is how containers are stopped, counts as Ctrl-C. A second one ends at once.
    """
    _hush()
    with _interruptible():
        try:
            _load_settings()
            main()
        except StudyError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from here", file=sys.stderr)
            return 130
    return 0


def _load_settings() -> None:
    if not Path(".env").exists():
        return
    try:
        from dotenv import load_dotenv
    except ImportError:  # on a machine that has only what training needs
        raise StudyError(
            "python-dotenv is not installed, so .env cannot be read: set by hand what is in it, "
            "and move it away"
        ) from None
    load_dotenv(".env")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    def interrupt(signum: int, frame: object) -> NoReturn:  # noqa: ARG001
        for each in minded:
            signal.signal(each, lambda *_: os._exit(130))
        os.write(2, b"\nstopping; once more ends at once\n")
        raise KeyboardInterrupt

    # a shell has what it starts in the background ignore Ctrl-C
    minded = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    before = {each: signal.signal(each, interrupt) for each in minded}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what is written to stderr, below Python too; shown after all if an error is raised.

    TensorFlow's libraries print lines while loading that no setting silences.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as dropped, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(dropped.fileno(), 2)
        try:
            yield
        except BaseException:
            dropped.seek(0)
            stderr.write(dropped.read())
            raise
        finally:
            os.dup2(stderr.fileno(), 2)


def _hush() -> None:
    """Keep the libraries' chatter out of the output (errors still show)."""
    warnings.filterwarnings("ignore")
    for name in ("alembic", "optuna", "absl", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
