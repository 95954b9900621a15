"""Write the images that all rivals train on, in one folder tree per kind of files."""

import shutil
from pathlib import Path

import cv2

from study.common.errors import StudyError
from study.data.prepare import build_samples
from study.data.registry import get_dataset
from study.data.split import make_split
from study.data.split import PART_NAMES

KINDS = ("small", "large")
LARGE = (1300, 1000)  # width and height, pixels: about what Kaggle's X-rays have


def write_images(dataset: str, count: int, folder: Path, kind: str) -> None:
    """Write train, val and test folders by the study's own pooled split with seed 0.

    Args:
        dataset: "chest", "blood" or "demo".
        count: about how many images, class shares kept; 0 for all.
        folder: gets train, val and test folders, as folder:PATH expects them.
        kind: "small" for the files as they are, "large" for JPEGs of 1,300 x 1,000.
    """
    listing = get_dataset(dataset).find()
    samples = build_samples(dataset, listing, ())
    split = make_split(samples, "pooled", seed=0, limit=count)
    for part in PART_NAMES:
        for row in getattr(split, part):
            image = samples.images[row]
            name = image.replace("/", "-")  # unique within its class
            file = folder / part / samples.classes[samples.y[row]] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if kind == "small":
                shutil.copyfile(listing.root / image, file)
            else:
                _enlarge(listing.root / image, file.with_suffix(".jpeg"))


def _enlarge(source: Path, target: Path) -> None:
    pixels = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)  # grey stays grey
    if pixels is None:
        raise StudyError(f"cannot read {source}: remove it, or fetch it anew")
    large = cv2.resize(pixels, LARGE, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(target), large, [cv2.IMWRITE_JPEG_QUALITY, 90])
