"""Run a command: `.env`, signals, exit codes, one-line errors."""

import contextlib
import errno
import logging
import os
import select
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from typing import TextIO

from study.common.errors import StudyError
from study.common.files import NO_SPACE_ERRNOS
from study.common.settings import trim_environment

# The exit code that shells show for a program that SIGPIPE ended. Python ignores that signal, and
# so it should: a trial would die of it without a word to MLflow.
UNREAD = 141
DENIED_ERRNOS = (errno.EACCES, errno.EPERM, errno.EROFS)


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
    try:
        load_dotenv(".env", encoding="utf-8-sig")  # without the mark that Windows writes first
    except ValueError:  # bytes that are no UTF-8, or UTF-16 read as such, with its zeros
        raise StudyError(
            f"{Path('.env').absolute()} is not in UTF-8, as of PowerShell's `>`: save it in UTF-8"
        ) from None


@contextlib.contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT or SIGTERM, and exit at once on the second."""

    def interrupt(signum: int, frame: object) -> NoReturn:  # noqa: ARG001
        for number in signals:
            signal.signal(number, lambda *_: os._exit(130))
        # Ctrl-C may have ended the reader of stderr as well, such as `tee`.
        with contextlib.suppress(OSError):
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
    with tempfile.TemporaryFile() as buffer, os.fdopen(os.dup(2), "wb", 0) as stderr:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            buffer.seek(0)
            with contextlib.suppress(BrokenPipeError):  # nobody reads on
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
