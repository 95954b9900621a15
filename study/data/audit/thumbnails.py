"""Small pictures of the largest groups, to see what a group is."""

import base64
import io
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from study.common.cache import replace_file
from study.data.audit.facts import Found
from study.data.audit.findings import Set
from study.data.audit.scan import read_checked
from study.data.decode import picture
from study.data.split import NAMES

GROUPS = 6
PICTURES = 8  # of each group
SIDE = 128  # pixels, of the longer side


@dataclass(frozen=True)
class Picture:
    """One image of a group."""

    image: str
    part: str  # in the pooled split, "" if it is in none
    uri: str  # data:image/jpeg;base64,...


@dataclass(frozen=True)
class Strip:
    """Some images of one group side by side."""

    group: str
    classes: list[str]
    count: int  # images in the group
    parts: dict[str, int]  # part of the pooled split -> images
    pictures: list[Picture]


def strips(
    groups: Mapping[str, Set], found: Found, part_of: Mapping[str, str], folder: Path
) -> list[Strip]:
    """The largest groups, up to `GROUPS` of up to `PICTURES` images each.

    Args:
        groups: images by group, largest first.
        found: has the files.
        part_of: the part of images in the pooled split.
        folder: where the small pictures are kept for next time.

    Raises:
        DataError: a file changes while being read.
    """
    label_of = {entry.image: entry.label for entry in found.listing.entries}
    shown = []
    for group in _largest(groups, label_of):
        images = groups[group]
        counts = Counter(part_of[image] for image in images if image in part_of)
        pictures = [Picture(i, part_of.get(i, ""), _uri(found, i, folder)) for i in _spread(images)]
        classes = sorted({label_of[image] for image in images})
        parts = {name: counts[name] for name in NAMES if counts[name]}
        shown.append(Strip(group, classes, len(images), parts, pictures))
    return shown


def _largest(groups: Mapping[str, Set], label_of: Mapping[str, str]) -> list[str]:
    """Of groups of equal size, the classes take turns."""
    rank: Counter[tuple[str, int]] = Counter()
    order = []
    for group, images in groups.items():
        of_class = (label_of[images[0]], len(images))
        rank[of_class] += 1
        order.append((-len(images), rank[of_class], group))
    return [group for _, _, group in sorted(order)[:GROUPS]]


def _spread(images: Set) -> list[str]:
    count = min(PICTURES, len(images))
    return [images[number * len(images) // count] for number in range(count)]


def _uri(found: Found, image: str, folder: Path) -> str:
    digest = found.hashes[image]
    file = folder / f"{digest}.jpg"
    try:
        content = file.read_bytes()
    except OSError:
        content = _small(read_checked(found.listing.root, image, digest))
        replace_file(file, content)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _small(content: bytes) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = picture(content, least=SIDE)
    shown.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=80)
    return stream.getvalue()
