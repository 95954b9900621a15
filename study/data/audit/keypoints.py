"""Keep the keypoints of images, and what pairs of them share, in a work folder."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from study.common.files import atomic_write
from study.data.audit.registration import extract_features
from study.data.audit.registration import Features
from study.data.audit.registration import Match
from study.data.audit.registration import match_features
from study.data.audit.registration import POINTS
from study.data.intact import BadImage
from study.data.parallel import map_in_threads
from study.data.parallel import ProgressCallback

CHUNK = 500  # images whose keypoints are in one file
RECORD = np.dtype([("point", "<f4", 2), ("descriptor", "u1", 128)])
PAIR = np.dtype([("a", "<i4"), ("b", "<i4"), ("points", "<i4"), ("share", "<f8")])

Pair = tuple[int, int]


class StoredFeatures(Sequence[Features]):
    """The keypoints of a list of images, stored in files of the work folder.

    Files that are missing are made first.
    """

    def __init__(
        self, root: Path, images: Sequence[str], work: Path, progress: ProgressCallback | None
    ) -> None:
        self._length = len(images)
        self._files = [work / f"keypoints-{start:07}.npy" for start in range(0, len(images), CHUNK)]
        missing = [n for n, file in enumerate(self._files) if not file.is_file()]
        unread = [i for n in missing for i in range(n * CHUNK, min((n + 1) * CHUNK, len(images)))]
        records = map_in_threads(
            lambda i: _read_keypoints(root / images[i]), unread, "keypoints", progress
        )
        for number in missing:
            rows = min(CHUNK, len(images) - number * CHUNK)
            _save_records(self._files[number], [next(records) for _ in range(rows)])
        next(records, None)  # goes on to the end, which reports the last progress
        self._chunks = [np.load(file, mmap_mode="r") for file in self._files]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        records = self._chunks[index // CHUNK][index % CHUNK]
        records = records[~np.isnan(records["point"][:, 0])]
        return Features(records["point"], records["descriptor"])


def _read_keypoints(file: Path) -> npt.NDArray[np.void]:
    """Return an image's keypoints as `POINTS` records.

    If the image has fewer keypoints, the points of the other records are NaN.
    """
    records = np.zeros(POINTS, RECORD)
    records["point"] = np.nan
    with contextlib.suppress(OSError, BadImage):
        features = extract_features(file.read_bytes())
        records["point"][: len(features.points)] = features.points
        records["descriptor"][: len(features.points)] = features.descriptors
    return records


def _save_records(file: Path, records: list[npt.NDArray[np.void]]) -> None:
    content = io.BytesIO()
    np.save(content, np.stack(records))
    atomic_write(file, content.getvalue())


class ComparisonCache:
    """The comparisons of pairs of images, kept in a file so that none is made twice."""

    def __init__(self, file: Path, features: Sequence[Features]) -> None:
        self._file = file
        self._features = features
        rows = np.fromfile(file, PAIR) if file.is_file() else np.empty(0, PAIR)
        # A killed process may have left half a row at the end of the file, which this removes.
        atomic_write(file, rows.tobytes())
        self._known = {(a, b): Match(points, share) for a, b, points, share in rows.tolist()}

    def shared(self, pairs: Sequence[Pair], progress: ProgressCallback | None) -> list[Match]:
        """Return what each pair shares."""
        new_pairs = [pair for pair in pairs if pair not in self._known]
        results = map_in_threads(self._compare, new_pairs, "comparing", progress)
        with self._file.open("ab", buffering=0) as stream:
            for pair, result in zip(new_pairs, results, strict=True):
                self._known[pair] = result
                stream.write(np.array((*pair, *result), PAIR).tobytes())
        return [self._known[pair] for pair in pairs]

    def _compare(self, pair: Pair) -> Match:
        return match_features(self._features[pair[0]], self._features[pair[1]])
