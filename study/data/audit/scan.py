"""Decode each image file once and keep one small record of it for next time."""

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

from study.data.decode import FORMATS
from study.data.decode import load_rgb_image
from study.data.digest import explain_unreadable
from study.data.digest import read_checked
from study.data.digest import UNREADABLE
from study.data.intact import BadImage
from study.data.listing import Listing
from study.data.parallel import map_in_threads
from study.data.parallel import ProgressCallback
from study.data.pixels import DECODER

FILE = f"scan-v{DECODER}.jsonl"  # one record a line


class ImageRecord(NamedTuple):
    """The record of one listed file.

    If the file is not usable, all fields after `size` are empty except the reason.
    """

    image: str
    size: int  # bytes; 0 if the file cannot be read
    format: str  # as PIL calls it: "JPEG", "PNG", ...
    mode: str  # as PIL calls it: "RGB", "L", "I;16", ...
    width: int  # pixels, the right way up
    height: int
    pixels: str  # SHA-256 over width, height and the RGB pixels in full size
    reason: str  # why training leaves the file out; "" if it is usable
    form: str = ""  # what training leaves out of the image or scales; "" if it is a plain one


def scan_images(
    listing: Listing, hashes: dict[str, str], folder: Path, progress: ProgressCallback | None
) -> list[ImageRecord]:
    """Return one record for every listed file, in the listing's order.

    Records are added to a file in `folder` as they are made. Images that have a record there are
    not decoded again.

    Args:
        listing: the data set's files.
        hashes: of every listed file, as `hash_files` returns them.
        folder: a folder for this listing and these hashes alone. The caller holds its lock.
        progress: called with "scanning" if anything must be decoded.

    Raises:
        DataError: a file changes while being read.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = _load_records(folder / FILE)
    new_images = [entry.image for entry in listing.entries if entry.image not in records]
    if new_images and progress:
        progress("scanning", 0, len(new_images))
    with (folder / FILE).open("ab") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        task = partial(_scan_image, listing.root, hashes)
        for record in map_in_threads(task, new_images, "scanning", progress):
            stream.write(json.dumps(record).encode() + b"\n")
            records[record.image] = record
    return [records[entry.image] for entry in listing.entries]


def _scan_image(root: Path, hashes: dict[str, str], image: str) -> ImageRecord:
    if hashes[image] == UNREADABLE:
        reason = explain_unreadable(root / image) or "cannot be read"
        return ImageRecord(image, 0, "", "", 0, 0, "", reason)
    content, form = read_checked(root, image, hashes[image])
    try:
        rgb = load_rgb_image(content)
    except BadImage as error:
        return ImageRecord(image, len(content), "", "", 0, 0, "", str(error))
    format_, mode = _read_format_and_mode(content)
    pixels = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    pixels.update(rgb.tobytes())
    return ImageRecord(image, len(content), format_, mode, *rgb.size, pixels.hexdigest(), "", form)


def _read_format_and_mode(content: bytes) -> tuple[str, str]:
    # Opening an image reads its header only.
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return image.format or "", image.mode


def _load_records(file: Path) -> dict[str, ImageRecord]:
    """Return the records in the file, by image.

    A killed process may have written part of a last line, which is removed from the file.
    """
    records: dict[str, ImageRecord] = {}
    complete_bytes = 0
    with contextlib.suppress(FileNotFoundError), file.open("r+b") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                stream.truncate(complete_bytes)
                break
            complete_bytes += len(line)
            # An image whose line is broken is decoded again.
            with contextlib.suppress(ValueError, TypeError):
                record = ImageRecord(*json.loads(line))
                # There are few formats and modes, each often repeated: keep one string of each.
                records[record.image] = record._replace(
                    format=intern(record.format), mode=intern(record.mode)
                )
    return records
