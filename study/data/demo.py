"""Synthetic blood smears: 624 images of 64 px in 4 classes.

They are copies of 3 drawn originals per class. They are drawn once and stored as PNG files
in the cache folder, so that they are read by the same code as real images.
"""

import shutil
from pathlib import Path

import numpy as np

from study.common.cache import cache_dir
from study.common.cache import cache_lock
from study.data.class_folders import ClassFolder
from study.data.class_folders import list_images
from study.data.listing import DataSet
from study.data.listing import Listing
from study.data.smear import augment_original
from study.data.smear import draw_original
from study.data.smear import LABELS

VERSION = 3  # part of the folder's name; raise it when the drawing changes
SEED = 20240229
ORIGINALS = 3  # per class
COPIES = 52  # per original


def find_images() -> Listing:
    """Return the synthetic images, grouped by original.

    If the images are missing, they are drawn first.

    Raises:
        DataError: the cache folder cannot be written.
    """
    root = cache_dir() / "demo" / f"v{VERSION}"
    if not _is_complete(root):
        with cache_lock("demo"):
            if not _is_complete(root):  # another process may have drawn them in the meantime
                _draw_images(root)
    entries = list_images(root, [ClassFolder(label) for label in LABELS]).entries
    groups = {entry.image: _parse_original(entry.image) for entry in entries}
    return Listing("synthetic", root, entries, groups, groups_from="drawn original")


def _parse_original(image: str) -> str:
    """Return the original that an image is a copy of.

    For `monocyte/original07_copy03.png` it is `monocyte/original07`.
    """
    return image.rsplit("_", 1)[0]


def _is_complete(root: Path) -> bool:
    return sum(1 for _ in root.glob("*/*.png")) == len(LABELS) * ORIGINALS * COPIES


def _draw_images(root: Path) -> None:
    # a fixed name is safe, because the caller holds the lock
    temporary = root.with_suffix(".tmp")
    # a killed process may have left the first, and files may be missing from the second
    for stale_folder in (temporary, root):
        shutil.rmtree(stale_folder, ignore_errors=True)
    for label_number, label in enumerate(LABELS):
        (temporary / label).mkdir(parents=True)
        for number in range(ORIGINALS):
            rng = np.random.default_rng((SEED, label_number, number))
            original = draw_original(label, rng)
            for copy in range(COPIES):
                file = temporary / label / f"original{number:02}_copy{copy:02}.png"
                # uncompressed, so that the bytes and the digest do not depend on zlib's version
                augment_original(original, rng).save(file, compress_level=0)
    temporary.replace(root)


DEMO = DataSet(find_images)
