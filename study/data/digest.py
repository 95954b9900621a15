"""Compute the digest of a data set from its images, classes and file contents."""

import contextlib
import errno
import hashlib
import json
import os
import stat
import time
import warnings
from collections.abc import Collection
from functools import partial
from pathlib import Path

from study.common.cache import cache_dir
from study.common.errors import DataError
from study.common.files import atomic_write
from study.data.decode import describe_form
from study.data.decode import POLICY
from study.data.listing import Listing
from study.data.parallel import map_in_threads
from study.data.parallel import ProgressCallback

UNREADABLE = "unreadable"  # takes the place of the hash of a file that cannot be read
# A file that changed less than 2 s ago may change again within the same clock tick, and its stamp
# would not show it.
RACY_NS = 2_000_000_000

Stamp = list[int]  # size in bytes, mtime and ctime in ns
Index = dict[str, tuple[Stamp, str]]  # file -> stamp and SHA-256


def hash_files(
    listing: Listing, progress: ProgressCallback | None, remember: bool
) -> dict[str, str]:
    """Return the hash of every listed file by image id.

    It is that of `hash_image` for an image, the SHA-256 for an extra file, and `UNREADABLE` for a
    file that cannot be read. A file whose size and times match the remembered ones is not read
    again.

    Args:
        listing: the data set's files.
        progress: called with "reading" if any file has to be read.
        remember: whether to keep the hashes in the cache folder, if it can be written.
    """
    names = [entry.image for entry in listing.entries] + list(listing.extras)
    root = listing.root.resolve()
    file = cache_dir() / "index" / f"{hash_bytes(os.fsencode(root))[:32]}-v{POLICY}.json"
    index = _read_index(file)
    now = time.time_ns()
    stamps = {name: _read_stamp(f"{root}/{name}") for name in names}
    old_hashes = {n: index[n][1] for n in names if n in index and index[n][0] == stamps[n]}
    names_to_read = [name for name in names if name not in old_hashes]
    task = partial(_hash_file, root, frozenset(listing.extras))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of odd metadata
        results = list(map_in_threads(task, names_to_read, "reading", progress))
    new_hashes = dict(zip(names_to_read, results, strict=True))
    stable = {n for n in new_hashes if new_hashes[n] != UNREADABLE and _is_at_rest(stamps[n], now)}
    hashes = old_hashes | new_hashes
    if remember and stable:
        entries = {n: (stamps[n], h) for n, h in hashes.items() if n in old_hashes or n in stable}
        with contextlib.suppress(OSError):  # without the index, the next call is only slower
            atomic_write(file, json.dumps(entries).encode())
    return hashes


def compute_digest(listing: Listing, hashes: dict[str, str], split: str = "") -> str:
    """Return the SHA-256 (64 hex digits) of a data set, as a split draws from it.

    It covers the image id, class and content of all listed files, the decoding policy if there are
    unusual images, and the listing's `rules`. The extra files, which give the groups, count for
    every split but the pooled one: that is drawn without groups, so adding or changing them does
    not make its runs train again.

    Args:
        listing: the data set's files.
        hashes: of every listed file, as `hash_files` returns them.
        split: "pooled", "official", "grouped", or "" for one that may depend on everything.
    """
    extras = () if split == "pooled" else listing.extras
    total = hashlib.sha256()
    lines = [(entry.image, entry.label, hashes[entry.image]) for entry in listing.entries]
    lines += [(name, "", hashes[name]) for name in extras]
    if listing.rules:
        lines.append(("", "", listing.rules))
    for line in lines:
        total.update(json.dumps(line).encode() + b"\n")
    return total.hexdigest()


def hash_bytes(content: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def hash_image(content: bytes, form: str) -> str:
    """Return a hash of an image file that stands for its pixels.

    For a plain image it is the SHA-256 of the content. For an unusual one the decoding policy
    counts, too: when that changes, such images become others.

    Args:
        content: the bytes of the file.
        form: as `describe_form` describes them.
    """
    return hash_bytes(b"%s decoded by policy %d" % (content, POLICY) if form else content)


def read_checked(root: Path, image: str, digest: str) -> tuple[bytes, str]:
    """Read an image file whose `hash_image` must be `digest`.

    Returns:
        Its content, and its form as `describe_form` describes it.

    Raises:
        DataError: the file has another hash, or cannot be read.
    """
    try:
        content = (root / image).read_bytes()
    except OSError:
        content = b""
    form = describe_form(content)
    if hash_image(content, form) != digest:
        raise DataError(
            f"{root / image} changed while it was read: "
            "repeat the command when nothing writes to it"
        )
    return content, form


def explain_unreadable(path: Path) -> str:
    """Return why a file cannot be opened, or "" if it is a regular file.

    To open anything else, such as a named pipe, could wait forever.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        is_link = path.is_symlink()
        reason = "a link to a file that is not there" if is_link else "there is no such file"
    except OSError as error:
        is_loop = error.errno == errno.ELOOP
        reason = "a link that leads back to itself" if is_loop else error.strerror or "no access"
    else:
        reason = "" if stat.S_ISREG(mode) else "neither a file nor a link to one"
    return reason and f"cannot be read: {reason}"


def _hash_file(root: Path, extras: Collection[str], name: str) -> str:
    if explain_unreadable(root / name):
        return UNREADABLE
    try:
        content = (root / name).read_bytes()
    except OSError:
        return UNREADABLE
    return hash_bytes(content) if name in extras else hash_image(content, describe_form(content))


def _read_stamp(path: str) -> Stamp:
    """Return the stamp of a file, or one that matches no file if it is unreadable."""
    try:
        # pathlib takes three times as long, which matters for tens of thousands of files
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return [-1, 0, 0]
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _is_at_rest(stamp: Stamp, now: int) -> bool:
    """Return whether a file's stamp would show any later change.

    It might not if the file changed a moment ago.
    """
    return abs(now - max(stamp[1:])) > RACY_NS


def _read_index(file: Path) -> Index:
    try:
        content = json.loads(file.read_bytes())
        return {name: (stamp, digest) for name, (stamp, digest) in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):  # no index yet, or not one of ours
        return {}
