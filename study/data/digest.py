"""The digest of a data set: which images, which classes, which contents."""

import contextlib
import hashlib
import json
import os
import time
from functools import partial
from pathlib import Path

from study.common.cache import cache_dir
from study.common.cache import replace_file
from study.data.listing import Listing
from study.data.parallel import in_threads
from study.data.parallel import Progress

UNREADABLE = "unreadable"  # stands for the content of a file that cannot be read
RACY_NS = 2_000_000_000  # a file changed less than 2 s ago may change again within one clock tick

Stamp = list[int]  # size in bytes, mtime and ctime in ns
Index = dict[str, tuple[Stamp, str]]  # file -> stamp and SHA-256


def file_hashes(listing: Listing, progress: Progress | None, remember: bool) -> dict[str, str]:
    """SHA-256 of every listed file, by image id; `UNREADABLE` where reading fails.

    A file whose size and times are as remembered is not read again.

    Args:
        listing: the data set's files.
        progress: called with "reading" if anything must be read.
        remember: whether to keep the hashes in the cache folder, if that can be written.
    """
    names = [entry.image for entry in listing.entries] + list(listing.extras)
    root = listing.root.resolve()
    file = cache_dir() / "index" / f"{sha256(os.fsencode(root))[:32]}.json"
    old, now = _load(file), time.time_ns()
    stamps = {name: _stamp(f"{root}/{name}") for name in names}
    known = {n: old[n][1] for n in names if n in old and old[n][0] == stamps[n]}
    todo = [name for name in names if name not in known]
    digests = in_threads(partial(_hash, root), todo, "reading", progress)
    new = dict(zip(todo, digests, strict=True))
    settled = {n for n in new if new[n] != UNREADABLE and _at_rest(stamps[n], now)}
    if remember and settled:
        index = {n: (stamps[n], d) for n, d in (known | new).items() if n in known or n in settled}
        with contextlib.suppress(OSError):  # only speed is lost
            replace_file(file, json.dumps(index).encode())
    return known | new


def digest_of(listing: Listing, hashes: dict[str, str]) -> str:
    """SHA-256 (64 hex digits) over (image id, class, content) of all listed files."""
    total = hashlib.sha256()
    lines = [(entry.image, entry.label, hashes[entry.image]) for entry in listing.entries]
    lines += [(name, "", hashes[name]) for name in listing.extras]
    for line in lines:
        total.update(json.dumps(line).encode() + b"\n")
    return total.hexdigest()


def sha256(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def _hash(root: Path, name: str) -> str:
    try:
        with (root / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNREADABLE


def _stamp(path: str) -> Stamp:
    try:
        stat = os.stat(path)  # noqa: PTH116 (a third of the time of pathlib, for 10,000s of files)
    except OSError:
        return [-1, 0, 0]
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _at_rest(stamp: Stamp, now: int) -> bool:
    return abs(now - max(stamp[1:])) > RACY_NS


def _load(file: Path) -> Index:
    try:
        return {
            name: (stamp, digest) for name, (stamp, digest) in json.loads(file.read_bytes()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError):  # none yet, or not ours
        return {}
