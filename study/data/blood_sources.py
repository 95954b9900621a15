"""Find the photograph behind every blood image, and the photographs that show one field.

    python -m study.data.blood_sources

Registers all images against the photographs in dataset-master and writes blood_sources.csv, which
is shipped: nobody needs to run this again. A call that was stopped goes on from there.
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
from study.common.cache import locked
from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import DataError
from study.common.progress import Progress
from study.data.audit.candidates import vectors
from study.data.audit.keypoints import Compared
from study.data.audit.keypoints import Stored
from study.data.audit.registration import Features
from study.data.audit.registration import shifted_points
from study.data.blood import KAGGLE
from study.data.blood import SOURCES
from study.data.kaggle import image_root
from study.data.kaggle import list_entries
from study.data.parallel import in_threads

ORIGINALS = "dataset-master/dataset-master"
MIN_POINTS = 12  # shared by image and photograph; strangers come to 4 or 5
MARGIN = 2.5  # times what the best photograph of any other field shares
SHORTLIST = 8  # photographs tried of 367, before all of them are: the first is nearly always right
MIN_SHIFTED = 7  # of photographs; strangers come to 4, specks on the camera to 5


@dataclass(frozen=True)
class Source:
    """What an image was made from; both names are empty where that is not certain."""

    image: str  # as `TRAIN/EOSINOPHIL/_0_1169.jpeg`
    original: str  # the photograph, as `BloodImage_00139`
    inliers: int  # keypoints that image and photograph share
    field: str  # the first of the photographs that show the same field, its own name if alone


def main() -> None:
    """The command."""
    parser = Parser(__doc__ or "", "study.data.blood_sources")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, default=SOURCES, help="[default: the shipped file]"
    )
    args = parser.parse_args()
    root = image_root(KAGGLE)
    originals = _originals(root)
    images = [entry.image for entry in list_entries(KAGGLE, root)]
    with locked("blood_sources"):
        sources = find_sources(root, images, originals, Progress())
    _write(args.out, sources)
    _summarize(sources, _labels(originals[0].parent.parent))
    print(f"written to {args.out}")


def find_sources(
    root: Path, images: Sequence[str], originals: Sequence[Path], progress: Progress
) -> list[Source]:
    """What each image was made from, in the order of `images`.

    Raises:
        DataError: the cache folder cannot be written.
    """
    work = cache_dir() / "audit" / "blood_sources"
    features = Stored(root, [*images, *map(str, originals)], work, progress.step)
    count = len(images)
    fields = _fields([features[count + n] for n in range(len(originals))], progress)
    judge = Judge(Compared(work / "pairs", features), images, originals, fields, progress)
    likeliest = _shortlists(features, count, progress)
    sources = judge.sources({image: row.tolist() for image, row in enumerate(likeliest)})
    unclear = [n for n, source in enumerate(sources) if not source.original]
    every = list(range(len(originals)))
    again = judge.sources(dict.fromkeys(unclear, every))
    for number, source in zip(unclear, again, strict=True):
        sources[number] = source
    return sources


@dataclass(frozen=True)
class Judge:
    """Decides by shared keypoints which photograph an image was made from."""

    compared: Compared
    images: Sequence[str]
    originals: Sequence[Path]
    fields: Sequence[int]
    progress: Progress

    def sources(self, candidates: dict[int, list[int]]) -> list[Source]:
        """One source for each image number, out of these numbers of photographs."""
        offset = len(self.images)
        pairs = [(image, offset + o) for image, row in candidates.items() for o in row]
        found = iter(self.compared.shared(pairs, self.progress.step))
        return [
            self._source(image, {original: next(found).points for original in row})
            for image, row in candidates.items()
        ]

    def _source(self, image: int, shared: dict[int, int]) -> Source:
        best = max(shared, key=lambda original: shared[original])
        field = self.fields[best]
        others = [count for o, count in shared.items() if self.fields[o] != field]
        if shared[best] < max(MIN_POINTS, MARGIN * max(others, default=0)):
            return Source(self.images[image], "", shared[best], "")
        names = self.originals[best].stem, self.originals[field].stem
        return Source(self.images[image], names[0], shared[best], names[1])


def _shortlists(features: Stored, count: int, progress: Progress) -> npt.NDArray[np.int64]:
    """The photographs most like each image, (count, SHORTLIST), the likeliest first."""
    upright, mirrored = vectors(features, progress.step)
    photographs = upright[count:].T
    likeness = np.maximum(upright[:count] @ photographs, mirrored[:count] @ photographs)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :SHORTLIST]


def _fields(photographs: Sequence[Features], progress: Progress) -> list[int]:
    """For each photograph the number of the first one that shows the same field.

    The microscope was moved between two photographs, never turned: a plain shift is enough, and
    strangers agree on one less often than on an affine map.
    """
    pairs = list(combinations(range(len(photographs)), 2))
    joined = DisjointSet(range(len(photographs)))
    shared = in_threads(
        lambda pair: shifted_points(photographs[pair[0]], photographs[pair[1]]),
        pairs, "comparing photographs", progress.step,
    )  # fmt: skip
    for pair, count in zip(pairs, shared, strict=True):
        if count >= MIN_SHIFTED:
            joined.merge(*pair)
    return [min(joined.subset(number)) for number in range(len(photographs))]


def _originals(root: Path) -> list[Path]:
    """The photographs, in the same download as the images."""
    for base in root.parents[:3]:
        found = sorted((base / ORIGINALS / "JPEGImages").glob("*.jpg"))
        if found:
            return found
    raise DataError(
        f"no photographs in {ORIGINALS}/JPEGImages above {root}: they are part of {KAGGLE.url}; "
        "unpack all of it"
    )


def _write(file: Path, sources: Sequence[Source]) -> None:
    try:
        pd.DataFrame(sources).to_csv(file, index=False, lineterminator="\n")
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}; choose another --out") from None


def _summarize(sources: Sequence[Source], labels: dict[str, str]) -> None:
    table = pd.DataFrame(sources)
    known = table[table["original"] != ""]
    place = known["image"].str.split("/", expand=True)
    side = place[0].replace("TEST_SIMPLE", "TEST")
    agreeing = (known["original"].map(labels) == place[1]).sum()
    print(f"{len(known)} of {len(table)} images assigned; {agreeing} labels agree")
    for kind in ("original", "field"):
        train, test = (set(known[kind][side == name]) for name in ("TRAIN", "TEST"))
        print(f"{kind}s: {len(train)} in TRAIN, {len(test)} in TEST, {len(train & test)} in both")
    for _, row in table[table["original"] == ""].iterrows():
        print(f"not certain: {row['image']} shares {row['inliers']} keypoints at best")


def _labels(folder: Path) -> dict[str, str]:
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        return {f"BloodImage_{int(r['Image']):05}": r["Category"] for r in csv.DictReader(stream)}


if __name__ == "__main__":
    sys.exit(run_command(main))
