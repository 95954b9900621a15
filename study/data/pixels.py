"""Read a data set's decoded images from the cache, or decode them into it.

All images of a cache file have the same size.
"""

import contextlib
import errno
import json
import math
import shutil
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from study.common.cache import cache_dir
from study.common.cache import cache_lock
from study.common.errors import DataError
from study.common.files import atomic_write
from study.data.decode import decode
from study.data.digest import explain_unreadable
from study.data.digest import read_checked
from study.data.digest import UNREADABLE
from study.data.intact import BadImage
from study.data.listing import Listing
from study.data.parallel import map_in_threads
from study.data.parallel import ProgressCallback

# Part of the cache file's name: raise it when decode() returns other pixels for plain images. For
# unusual ones, raise POLICY.
DECODER = 1
STALE_SECONDS = 3600  # of a temporary file that is not written to

Pixels = npt.NDArray[np.uint8]
Notes = tuple[tuple[str, str], ...]  # (image, what is to be said of it)


class DecodedImages(NamedTuple):
    """A data set's N usable images in the listing's order, and its unusable ones."""

    x: Pixels  # (N, size, size, 3)
    skipped: Notes  # why images are not usable
    unusual: Notes  # what was left out or scaled in images that are


def load_cached_pixels(
    listing: Listing,
    hashes: dict[str, str],
    digest: str,
    size: int,
    progress: ProgressCallback | None,
) -> DecodedImages:
    """Return a read-only memory map of the cache file.

    If the file is missing or broken, it is written first.

    Raises:
        DataError: no image is usable, files change while being read, or the cache folder is full
            or cannot be written.
    """
    file = cache_dir() / "images" / f"{digest}-{size}px-v{DECODER}.u8"
    decoded = _open_cached(file, listing, size)
    if decoded:
        return decoded
    with cache_lock(file.stem):
        decoded = _open_cached(file, listing, size)  # another process may have written it by now
        if not decoded:
            _write_cache(file, listing, hashes, size, progress)
            decoded = _open_cached(file, listing, size)
    if not decoded:
        raise DataError(
            f"{file} is not what was just written: check the disk, and repeat the command"
        )
    return decoded


def decode_in_memory(
    listing: Listing, hashes: dict[str, str], size: int, progress: ProgressCallback | None
) -> DecodedImages:
    """Return the decoded images in this process' memory, and write nothing.

    Raises:
        DataError: no image is usable, files change while being read, or memory ran out.
    """
    shape = (len(listing.entries), size, size, 3)
    try:
        return _decode_into_array(np.empty(shape, np.uint8), listing, hashes, progress)
    except MemoryError:
        raise DataError(
            f"out of memory: {shape[0]} images of {size} x {size} pixels take "
            f"{math.prod(shape) / 1e9:.1f} GB: use a smaller image_size, or leave out --no-cache"
        ) from None


def _decode_into_array(
    x: Pixels, listing: Listing, hashes: dict[str, str], progress: ProgressCallback | None
) -> DecodedImages:
    """Decode into an array that has a row for each listed image."""
    count = 0
    notes = _NoteLists([], [])
    for pixels in _decode_usable(listing, hashes, x.shape[1], progress, notes):
        x[count] = pixels
        count += 1
    _check_any_usable(notes, count)
    x = x[:count]
    x.flags.writeable = False
    return DecodedImages(x, tuple(notes.skipped), tuple(notes.unusual))


class _NoteLists(NamedTuple):
    """Notes on the images of a data set that were read so far."""

    skipped: list[tuple[str, str]]
    unusual: list[tuple[str, str]]


def _open_cached(file: Path, listing: Listing, size: int) -> DecodedImages | None:
    """Return the images in the cache file, or None if they have to be decoded."""
    try:
        sidecar = json.loads(file.with_suffix(".json").read_bytes())
        skipped = _read_notes(sidecar["skipped"])
        # earlier versions, whose cache files have plain images only, did not write it
        unusual = _read_notes(sidecar.get("unusual", []))
        shape = (len(listing.entries) - len(skipped), size, size, 3)
        if sidecar["shape"] != list(shape) or file.stat().st_size != np.prod(shape):
            return None
        return DecodedImages(np.memmap(file, np.uint8, "r", shape=shape), skipped, unusual)
    except (OSError, ValueError, KeyError, TypeError):  # not there yet, or broken
        return None


def _read_notes(pairs: list[list[str]]) -> Notes:
    return tuple((str(image), str(note)) for image, note in pairs)


def _write_cache(
    file: Path,
    listing: Listing,
    hashes: dict[str, str],
    size: int,
    progress: ProgressCallback | None,
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    _check_space(file.parent, len(listing.entries) * size * size * 3)
    # The caller holds the lock, but some network file systems keep locks within a machine
    temporary = file.with_name(f"{file.stem}.{gethostname()}.{uuid4().hex}.tmp")
    _remove_leftovers(file)
    count = 0
    notes = _NoteLists([], [])
    try:
        with temporary.open("wb") as stream:
            for pixels in _decode_usable(listing, hashes, size, progress, notes):
                stream.write(pixels.tobytes())
                count += 1
        _check_any_usable(notes, count)
        sidecar = {"shape": [count, size, size, 3], **notes._asdict()}
        if _open_cached(file, listing, size):  # another machine was first, and may read it now
            return
        temporary.replace(file)
        atomic_write(file.with_suffix(".json"), json.dumps(sidecar).encode())
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(file: Path) -> None:
    """Remove the temporary files of dead processes.

    Those for `file` of this machine are, because the caller holds the lock. Of any others, those
    that nobody has written to for an hour count as such.
    """
    for temporary in file.parent.glob("*.tmp"):
        is_ours = temporary.name.startswith(f"{file.stem}.{gethostname()}.")
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            if is_ours or time.time() - temporary.stat().st_mtime > STALE_SECONDS:
                temporary.unlink()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            errno.ENOSPC, f"no space: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} free"
        )


def _check_any_usable(notes: _NoteLists, count: int) -> None:
    """Raise if no image is usable. `count` is the number of usable images."""
    if not count:
        image, reason = notes.skipped[0]
        raise DataError(f"none of {len(notes.skipped)} images is usable, first {image!r}: {reason}")


def _decode_usable(
    listing: Listing,
    hashes: dict[str, str],
    size: int,
    progress: ProgressCallback | None,
    notes: _NoteLists,
) -> Iterator[Pixels]:
    """Yield the pixels of each usable image, and add remarks on any to `notes`."""
    images = [entry.image for entry in listing.entries]
    task = partial(_decode_one, listing.root, hashes, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of odd metadata
        results = map_in_threads(task, images, "decoding", progress)
        for image, (pixels, note) in zip(images, results, strict=True):
            if pixels is None:
                notes.skipped.append((image, note))
                continue
            if note:
                notes.unusual.append((image, note))
            yield pixels


def _decode_one(
    root: Path, hashes: dict[str, str], size: int, image: str
) -> tuple[Pixels | None, str]:
    """Return an image's pixels and what is unusual, or None and the reason."""
    if hashes[image] == UNREADABLE:
        return None, explain_unreadable(root / image) or "cannot be read"
    # also keeps a file out of the cache that changed while its size and times did not
    content, form = read_checked(root, image, hashes[image])
    try:
        return decode(content, size), form
    except BadImage as error:
        return None, str(error)
