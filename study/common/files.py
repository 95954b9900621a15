"""A full disk, said in a line."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from study.common.errors import StudyError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, the file


@contextlib.contextmanager
def room_for(what: str, folder: Path) -> Iterator[None]:
    """Names what could not be written into `folder` for want of room; removes what was begun.

    Raises:
        StudyError: there is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        for unfinished in filter(Path.is_file, folder.glob("*.part")):
            unfinished.unlink(missing_ok=True)
        raise StudyError(
            f"no room to write {what} to {folder} ({error.strerror}): "
            "make some and repeat the command"
        ) from None
