"""What each image file is: one small record, from one full decoding, kept for next time."""

import contextlib
import hashlib
import io
import json
import warnings
from functools import partial
from pathlib import Path
from sys import intern
from typing import NamedTuple

from PIL import Image

from study.common.errors import DataError
from study.data.decode import BadImage
from study.data.decode import FORMATS
from study.data.decode import picture
from study.data.digest import sha256
from study.data.digest import UNREADABLE
from study.data.listing import Listing
from study.data.parallel import in_threads
from study.data.parallel import Progress
from study.data.pixels import DECODER

FILE = f"scan-v{DECODER}.jsonl"  # one record a line


class Record(NamedTuple):
    """One listed file. Of one that is not usable, all after `size` is empty but the reason."""

    image: str
    size: int  # bytes; 0 if the file cannot be read
    format: str  # as PIL calls it: "JPEG", "PNG", ...
    mode: str  # as PIL calls it: "RGB", "L", "I;16", ...
    width: int  # pixels, the right way up
    height: int
    pixels: str  # SHA-256 over width, height and the RGB pixels in full size
    reason: str  # why training leaves the file out; "" if it does not


def scan(
    listing: Listing, hashes: dict[str, str], folder: Path, progress: Progress | None
) -> list[Record]:
    """One record for every listed file, in the listing's order.

    Records are added to a file in `folder` as they are made; what is there is not decoded again.

    Args:
        listing: the data set's files.
        hashes: SHA-256 of every listed file.
        folder: belongs to this listing and these hashes alone; the caller holds its lock.
        progress: called with "scanning" if anything must be decoded.

    Raises:
        DataError: a file changes while being read.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = _known(folder / FILE)
    todo = [entry.image for entry in listing.entries if entry.image not in known]
    if todo and progress:
        progress("scanning", 0, len(todo))
    with (folder / FILE).open("ab") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        # as in training: what PIL only warns of is refused as well
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        task = partial(_record, listing.root, hashes)
        for record in in_threads(task, todo, "scanning", progress):
            stream.write(json.dumps(record).encode() + b"\n")
            known[record.image] = record
    return [known[entry.image] for entry in listing.entries]


def read_checked(root: Path, image: str, digest: str) -> bytes:
    """The content of a file, which must have this SHA-256.

    Raises:
        DataError: it has another one.
    """
    try:
        content = (root / image).read_bytes()
    except OSError:
        content = b""
    if sha256(content) != digest:
        raise DataError(f"{root / image} changed while being read: run again when it is at rest")
    return content


def _record(root: Path, hashes: dict[str, str], image: str) -> Record:
    if hashes[image] == UNREADABLE:
        return Record(image, 0, "", "", 0, 0, "", "cannot be read")
    content = read_checked(root, image, hashes[image])
    try:
        rgb = picture(content)
    except BadImage as error:
        return Record(image, len(content), "", "", 0, 0, "", str(error))
    kind, mode = _kind(content)
    pixels = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    pixels.update(rgb.tobytes())
    return Record(image, len(content), kind, mode, *rgb.size, pixels.hexdigest(), "")


def _kind(content: bytes) -> tuple[str, str]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:  # reads the header only
        return image.format or "", image.mode


def _known(file: Path) -> dict[str, Record]:
    """The records in the file; a last line cut off by a kill is cut off the file, too."""
    found: dict[str, Record] = {}
    whole = 0
    with contextlib.suppress(FileNotFoundError), file.open("r+b") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                stream.truncate(whole)
                break
            whole += len(line)
            with contextlib.suppress(ValueError, TypeError):  # else decode that image again
                record = Record(*json.loads(line))
                kind, mode = intern(record.format), intern(record.mode)  # few, often repeated
                found[record.image] = record._replace(format=kind, mode=mode)
    return found
