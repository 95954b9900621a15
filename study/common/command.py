"""Run a command: parser, `.env`, signals, exit codes, one-line errors."""

import argparse
import contextlib
import errno
import logging
import os
import re
import select
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
from typing import TextIO

from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.common.files import NO_SPACE_ERRNOS
from study.common.settings import trim_environment

# The exit code that shells show for a program that SIGPIPE ended. Python ignores that signal, and
# so it should: a trial would die of it without a word to MLflow.
UNREAD = 141
DENIED_ERRNOS = (errno.EACCES, errno.EPERM, errno.EROFS)
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
        ConfigError: it is none, or out of range.
    """
    if not re.fullmatch(r"-?\d+", text):
        raise ConfigError(f"{name}={text!r} is not a whole number: use {low} to {high}")
    return int(parse_number(name, text, low, high))


def parse_number(name: str, text: str, low: float, high: float) -> float:
    """Return a flag's number, from `low` to `high`.

    Raises:
        ConfigError: it is none, or out of range.
    """
    try:
        number = float(text)
    except ValueError:
        raise ConfigError(f"{name}={text!r} is not a number: use {low} to {high}") from None
    if not low <= number <= high:
        raise ConfigError(f"{name}={text!r} is out of range: use {low} to {high}")
    return number


def run_command(main: Callable[[], None]) -> int:
    """Run a command and return its exit code.

    SIGTERM, which is how containers are stopped, counts as Ctrl-C. A second one ends the process
    at once.

    Returns:
        0, or 2 after an error that the user can act on (a `StudyError`, or a file that cannot be
        opened or written), or 130 after Ctrl-C, or 141 if the reader
        of its output has gone, as after `| head`.
    """
    _replace_closed_streams()
    _silence_libraries()
    try:
        try:
            return _run_and_report(main)
        finally:
            sys.stdout.flush()  # here, and not when Python ends, where nobody can catch an error
    except BrokenPipeError:
        if not _drop_unread_output():
            raise
        return UNREAD


def _replace_closed_streams() -> None:
    """Open the null device in place of standard streams that are closed, as by `>&-`.

    Else the next file to be opened, such as a database, would get the descriptor of the stream,
    and libraries would print into that file.
    """
    for name in ("stdin", "stdout", "stderr"):  # in the order of their descriptors
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - to the end


def _run_and_report(main: Callable[[], None]) -> int:
    with _interrupt_on_signals():
        try:
            _load_env_file()
            trim_environment()
            main()
        except StudyError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except OSError as error:
            message = _explain_unwritable(error)
            if message is None:
                raise
            print(f"error: {message}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            if _drop_unread_output():
                return UNREAD
            print("\nstopped: repeat the command to continue", file=sys.stderr)
            return 130
    return 0


def _explain_unwritable(error: OSError) -> str | None:
    """Return a message on a file that cannot be opened or written.

    It is for the places that know no better advice, and raise no error of their own.

    Returns:
        None on any other failure.
    """
    reason = error.strerror
    if error.errno in NO_SPACE_ERRNOS:
        return f"cannot write {error.filename or 'a file'} ({reason}): free some space and repeat"
    if error.errno in DENIED_ERRNOS and error.filename is not None:
        return (
            f"cannot open {error.filename} ({reason}): change its permissions, or choose another "
            "folder"
        )
    if error.errno == errno.ENOENT and "temporary directory" in (reason or ""):  # of tempfile
        return f"{reason}: set TMPDIR to a folder that can be written"
    return None


def _drop_unread_output() -> bool:
    """Drop what stdout and stderr hold for readers who have gone.

    Returns:
        True if any has gone.
    """
    unread = [stream for stream in (sys.stdout, sys.stderr) if _has_lost_reader(stream)]
    for stream in unread:
        # Else Python complains when it flushes the stream at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(unread)


def _has_lost_reader(stream: TextIO) -> bool:
    try:
        stream.flush()
        poll = select.poll()  # of use where the stream has no buffer
        poll.register(stream.fileno(), 0)  # errors are reported whatever the events asked for
        return bool(poll.poll(0))
    except BrokenPipeError:
        return True
    except (AttributeError, OSError):  # no poll on Windows, no descriptor in a notebook
        return False


def _load_env_file() -> None:
    if not Path(".env").exists():
        return
    try:
        from dotenv import load_dotenv
    except ImportError:  # on a machine that has only what training needs
        raise StudyError(
            "python-dotenv is not installed, so .env cannot be read: set its variables yourself, "
            "and remove the file"
        ) from None
    load_dotenv(".env")


@contextlib.contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT or SIGTERM, and exit at once on the second."""

    def interrupt(signum: int, frame: object) -> NoReturn:  # noqa: ARG001
        for number in signals:
            signal.signal(number, lambda *_: os._exit(130))
        os.write(2, b"\nstopping; a second Ctrl-C ends at once\n")
        raise KeyboardInterrupt

    # A shell makes its background commands ignore Ctrl-C. Keep it so.
    signals = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    previous_handlers = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what is written to stderr, unless the block raises an error.

    TensorFlow's libraries print lines while loading that no setting silences, so this redirects
    the file descriptor, below Python. If an error is raised, the text is shown after all.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as buffer, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            buffer.seek(0)
            stderr.write(buffer.read())
            raise
        finally:
            os.dup2(stderr.fileno(), 2)


def _drop_warning(*_args: object, **_more: object) -> None:
    """Take the place of `warnings.showwarning`."""


def _silence_libraries() -> None:
    """Keep the libraries' warnings and notices out of the output. Errors still show."""
    # Not by a filter: libraries are imported later, and put filters of their own before it.
    warnings.showwarning = _drop_warning
    for name in ("alembic", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
