"""Make small pictures of the largest groups, to show what a group is."""

import base64
import io
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from study.common.files import atomic_write
from study.data.audit.facts import ImageEvidence
from study.data.audit.findings import ImageSet
from study.data.decode import load_rgb_image
from study.data.digest import read_checked
from study.data.split import PART_NAMES

GROUPS = 6
PICTURES = 8  # of each group
SIDE = 128  # pixels, of the longer side


@dataclass(frozen=True)
class Picture:
    """A small picture of one image of a group."""

    image: str
    part: str  # part of the pooled split, "" if it is in none
    uri: str  # data:image/jpeg;base64,...


@dataclass(frozen=True)
class Strip:
    """A row of some images of one group."""

    group: str
    classes: list[str]
    count: int  # images in the group
    parts: dict[str, int]  # part of the pooled split -> images
    pictures: list[Picture]


def make_strips(
    groups: Mapping[str, ImageSet],
    evidence: ImageEvidence,
    part_of: Mapping[str, str],
    folder: Path,
) -> list[Strip]:
    """Make strips of the largest groups.

    There are up to `GROUPS` strips of up to `PICTURES` images each.

    Args:
        groups: images by group, largest first.
        evidence: has the image files and their hashes.
        part_of: the part of images in the pooled split.
        folder: the folder in which the small pictures are kept for next time.

    Raises:
        DataError: a file changes while being read.
    """
    label_of = {entry.image: entry.label for entry in evidence.listing.entries}
    group_strips = []
    for group in _pick_largest(groups, label_of):
        images = groups[group]
        counts = Counter(part_of[image] for image in images if image in part_of)
        pictures = [
            Picture(image, part_of.get(image, ""), _make_uri(evidence, image, folder))
            for image in _pick_evenly(images)
        ]
        classes = sorted({label_of[image] for image in images})
        parts = {name: counts[name] for name in PART_NAMES if counts[name]}
        group_strips.append(Strip(group, classes, len(images), parts, pictures))
    return group_strips


def _pick_largest(groups: Mapping[str, ImageSet], label_of: Mapping[str, str]) -> list[str]:
    """Return the names of the `GROUPS` largest groups.

    Among groups of equal size, the classes take turns.
    """
    rank: Counter[tuple[str, int]] = Counter()
    order = []
    for group, images in groups.items():
        label_and_size = (label_of[images[0]], len(images))
        rank[label_and_size] += 1
        order.append((-len(images), rank[label_and_size], group))
    return [group for _, _, group in sorted(order)[:GROUPS]]


def _pick_evenly(images: ImageSet) -> list[str]:
    count = min(PICTURES, len(images))
    return [images[number * len(images) // count] for number in range(count)]


def _make_uri(evidence: ImageEvidence, image: str, folder: Path) -> str:
    digest = evidence.hashes[image]
    file = folder / f"{digest}.jpg"
    try:
        content = file.read_bytes()
    except OSError:
        original, _ = read_checked(evidence.listing.root, image, digest)
        content = _shrink_to_jpeg(original)
        atomic_write(file, content)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _shrink_to_jpeg(content: bytes) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = load_rgb_image(content, least=SIDE)
    small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return stream.getvalue()
