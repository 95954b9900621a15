"""The folder that an audit writes to."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from study.common.errors import DataError


def check_writable(out: Path) -> None:
    """Raise at once if `out` cannot be written, not after minutes of work.

    The folder is not made: an audit that is refused leaves nothing behind.
    """
    with write_errors_as_data_errors(out):
        existing = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
        tempfile.TemporaryFile(dir=existing).close()


@contextlib.contextmanager
def write_errors_as_data_errors(out: Path) -> Iterator[None]:
    """Turn a failure to write to `out` into an error of one line.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write to {out} ({error.strerror or error}): choose another folder with --out"
        ) from None
