"""Find the photograph behind every blood image, and photographs of the same field.

    python -m study.data.blood_sources

Registers all images against the photographs in dataset-master and writes blood_sources.csv. That
file ships with the code, so nobody needs to run this again. A run that was interrupted continues
where it stopped.
"""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from study.common.cache import cache_dir
from study.common.cache import cache_lock
from study.common.command import run_command
from study.common.errors import DataError
from study.common.parser import Parser
from study.common.progress import Progress
from study.data.audit.candidates import compute_vectors
from study.data.audit.keypoints import ComparisonCache
from study.data.audit.keypoints import StoredFeatures
from study.data.audit.registration import count_shifted_points
from study.data.audit.registration import Features
from study.data.blood import KAGGLE
from study.data.blood import SOURCES
from study.data.digest import hash_bytes
from study.data.kaggle import find_image_root
from study.data.kaggle import list_all_parts
from study.data.parallel import map_in_threads

ORIGINALS = "dataset-master/dataset-master"
# Fewest keypoints that an image and its photograph share. Unrelated ones share 4 or 5.
MIN_POINTS = 12
# An image's photograph shares at least this many times the keypoints that the best photograph of
# any other field shares.
MARGIN = 2.5
# Number of photographs, of 367, that an image is compared with first. The most likely one is nearly
# always right, so the others are seldom needed.
SHORTLIST = 8
# Fewest keypoints that two photographs of one field share. Unrelated ones share up to 4, or 5 if
# both show the same specks on the camera.
MIN_SHIFTED = 7


@dataclass(frozen=True)
class Source:
    """An image's photograph and field, with empty names where these are uncertain."""

    image: str  # as `TRAIN/EOSINOPHIL/_0_1169.jpeg`
    original: str  # the photograph, as `BloodImage_00139`
    inliers: int  # keypoints that image and photograph share
    field: str  # the first photograph of the same field, which may be `original` itself


def main() -> None:
    """Run the command."""
    parser = Parser(__doc__ or "", "study.data.blood_sources")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, default=SOURCES, help="[default: the shipped file]"
    )
    args = parser.parse_args()
    root = find_image_root(KAGGLE)
    photographs = _find_photographs(root)
    images = [entry.image for entry in list_all_parts(KAGGLE, root).entries]
    with cache_lock("blood_sources"):
        sources = find_sources(root, images, photographs, Progress())
    _write_sources(args.out, sources)
    _print_summary(sources, _read_labels(photographs[0].parent.parent))
    print(f"written to {args.out}")


def find_sources(
    root: Path, images: Sequence[str], originals: Sequence[Path], progress: Progress
) -> list[Source]:
    """Find the photograph that each image was made from.

    The sources are in the order of `images`.

    Raises:
        DataError: the cache folder cannot be written.
    """
    listed = [*images, *map(str, originals)]
    key = hash_bytes("\n".join(listed).encode())[:16]  # keypoints are stored by place in the list
    work = cache_dir() / "audit" / f"blood_sources-{key}"
    features = StoredFeatures(root, listed, work, progress.step)
    count = len(images)
    fields = _group_by_field([features[count + n] for n in range(len(originals))], progress)
    judge = SourceMatcher(
        ComparisonCache(work / "pairs", features), images, originals, fields, progress
    )
    shortlists = _shortlist_photographs(features, count, progress)
    sources = judge.sources({image: row.tolist() for image, row in enumerate(shortlists)})
    # images whose source is not on their shortlist are compared with all photographs
    unclear = [n for n, source in enumerate(sources) if not source.original]
    all_numbers = list(range(len(originals)))
    new_sources = judge.sources(dict.fromkeys(unclear, all_numbers))
    for number, source in zip(unclear, new_sources, strict=True):
        sources[number] = source
    return sources


@dataclass(frozen=True)
class SourceMatcher:
    """A matcher that finds the photograph behind an image by shared keypoints."""

    compared: ComparisonCache
    images: Sequence[str]
    originals: Sequence[Path]
    fields: Sequence[int]
    progress: Progress

    def sources(self, candidates: dict[int, list[int]]) -> list[Source]:
        """Return a source for each image, in the order of `candidates`.

        Args:
            candidates: image number -> numbers of the photographs that it may come from.
        """
        offset = len(self.images)
        pairs = [(image, offset + o) for image, row in candidates.items() for o in row]
        matches = iter(self.compared.shared(pairs, self.progress.step))
        return [
            self._choose_source(image, {original: next(matches).points for original in row})
            for image, row in candidates.items()
        ]

    def _choose_source(self, image: int, points: dict[int, int]) -> Source:
        """Return the source of an image from the keypoints it shares with each photograph."""
        best = max(points, key=lambda original: points[original])
        field = self.fields[best]
        points_elsewhere = [count for o, count in points.items() if self.fields[o] != field]
        if points[best] < max(MIN_POINTS, MARGIN * max(points_elsewhere, default=0)):
            return Source(self.images[image], "", points[best], "")
        original_name = self.originals[best].stem
        field_name = self.originals[field].stem
        return Source(self.images[image], original_name, points[best], field_name)


def _shortlist_photographs(
    features: StoredFeatures, count: int, progress: Progress
) -> npt.NDArray[np.int64]:
    """Return the numbers of the photographs most like each image, most likely first.

    Their shape is (count, SHORTLIST).
    """
    upright, mirrored = compute_vectors(features, progress.step)
    photographs = upright[count:].T
    likeness = np.maximum(upright[:count] @ photographs, mirrored[:count] @ photographs)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :SHORTLIST]


def _group_by_field(photographs: Sequence[Features], progress: Progress) -> list[int]:
    """Return, for each photograph, the number of the first one of the same field.

    Between two photographs the microscope was moved but never turned, so a plain shift maps one to
    the other. Unrelated photographs agree on a shift less often than on an affine map.
    """
    numbers = range(len(photographs))
    pairs = list(combinations(numbers, 2))
    fields = DisjointSet(numbers)
    counts = map_in_threads(
        lambda pair: count_shifted_points(photographs[pair[0]], photographs[pair[1]]),
        pairs,
        "comparing photographs",
        progress.step,
    )
    for pair, count in zip(pairs, counts, strict=True):
        if count >= MIN_SHIFTED:
            fields.merge(*pair)
    return [min(fields.subset(number)) for number in numbers]


def _find_photographs(root: Path) -> list[Path]:
    """Return the photographs, which are part of the same download as the images."""
    for base in root.parents[:3]:
        photographs = sorted((base / ORIGINALS / "JPEGImages").glob("*.jpg"))
        if photographs:
            return photographs
    raise DataError(
        f"no photographs in {ORIGINALS}/JPEGImages above {root}: they are part of {KAGGLE.url}; "
        "unpack all of it"
    )


def _write_sources(file: Path, sources: Sequence[Source]) -> None:
    try:
        pd.DataFrame(sources).to_csv(file, index=False, lineterminator="\n")
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}; choose another --out") from None


def _print_summary(sources: Sequence[Source], labels: dict[str, str]) -> None:
    """Print how many images were assigned, and how many photographs two parts share."""
    table = pd.DataFrame(sources)
    certain = table[table["original"] != ""]
    folders = certain["image"].str.split("/", expand=True)  # column 0: part, column 1: class
    part = folders[0].replace("TEST_SIMPLE", "TEST")
    matching_labels = (certain["original"].map(labels) == folders[1]).sum()
    print(f"{len(certain)} of {len(table)} images assigned; {matching_labels} labels agree")
    for kind in ("original", "field"):
        train = set(certain[kind][part == "TRAIN"])
        test = set(certain[kind][part == "TEST"])
        print(f"{kind}s: {len(train)} in TRAIN, {len(test)} in TEST, {len(train & test)} in both")
    for _, row in table[table["original"] == ""].iterrows():
        print(f"not certain: {row['image']} shares {row['inliers']} keypoints at best")


def _read_labels(folder: Path) -> dict[str, str]:
    """Return the class of each photograph, by its name."""
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return {f"BloodImage_{int(row['Image']):05}": row["Category"] for row in rows}


if __name__ == "__main__":
    sys.exit(run_command(main))
