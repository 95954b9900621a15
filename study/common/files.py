"""Report a full disk in one line."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from study.common.errors import StudyError

# In this order: the disk is full, the user's quota is used up, the file is too large.
NO_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def no_space_as_study_error(what: str, folder: Path) -> Iterator[None]:
    """Turn a lack of disk space within the block into an error that names `what`.

    Unfinished files (`*.part`) are removed from `folder` then.

    Raises:
        StudyError: there is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE_ERRNOS:
            raise
        for unfinished in filter(Path.is_file, folder.glob("*.part")):
            unfinished.unlink(missing_ok=True)
        raise StudyError(
            f"no room to write {what} to {folder} ({error.strerror}): "
            "make some and repeat the command"
        ) from None
