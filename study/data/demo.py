"""Synthetic blood smears: 4 classes, 624 images of 64 px, copies of 3 drawn originals per class.

Drawn once into the cache folder as PNG files, so that they take the same way as real images.
"""

import shutil
from pathlib import Path

import numpy as np

from study.common.cache import cache_dir
from study.common.cache import locked
from study.data.listing import checked
from study.data.listing import DataSet
from study.data.listing import entries_of
from study.data.listing import Listing
from study.data.smear import augmented
from study.data.smear import draw_original
from study.data.smear import LABELS

VERSION = 3  # names the folder; raise it when the drawing changes
SEED = 20240229
ORIGINALS = 3  # per class
COPIES = 52  # per original


def find() -> Listing:
    """The synthetic images, grouped by original; drawn first if they are not there.

    Raises:
        DataError: the cache folder cannot be written.
    """
    root = cache_dir() / "demo" / f"v{VERSION}"
    if not _is_complete(root):
        with locked("demo"):
            if not _is_complete(root):  # another process may have drawn them meanwhile
                _draw_all(root)
    entries = checked(root, (e for name in LABELS for e in entries_of(root, name)), LABELS)
    groups = {entry.image: _original(entry.image) for entry in entries}
    return Listing("synthetic", root, entries, groups, groups_from="drawn original")


def _original(image: str) -> str:
    """`monocyte/original07_copy03.png` -> `monocyte/original07`."""
    return image.rsplit("_", 1)[0]


def _is_complete(root: Path) -> bool:
    return sum(1 for _ in root.glob("*/*.png")) == len(LABELS) * ORIGINALS * COPIES


def _draw_all(root: Path) -> None:
    temporary = root.with_suffix(".tmp")  # one name is enough: the caller holds the lock
    for old in (temporary, root):  # left by a killed process, or files lost
        shutil.rmtree(old, ignore_errors=True)
    for label_number, label in enumerate(LABELS):
        (temporary / label).mkdir(parents=True)
        for number in range(ORIGINALS):
            rng = np.random.default_rng((SEED, label_number, number))
            original = draw_original(label, rng)
            for copy in range(COPIES):
                file = temporary / label / f"original{number:02}_copy{copy:02}.png"
                # not compressed: the bytes, hence the digest, do not depend on zlib's version
                augmented(original, rng).save(file, compress_level=0)
    temporary.replace(root)


DEMO = DataSet(find)
