"""Keypoints of a list of images, and what pairs of them share, kept in files of a work folder."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from study.common.cache import replace_file
from study.data.audit.registration import Features
from study.data.audit.registration import features_of
from study.data.audit.registration import POINTS
from study.data.audit.registration import Shared
from study.data.audit.registration import shared
from study.data.decode import BadImage
from study.data.parallel import in_threads
from study.data.parallel import Progress

CHUNK = 500  # images whose keypoints share a file
RECORD = np.dtype([("point", "<f4", 2), ("descriptor", "u1", 128)])
PAIR = np.dtype([("a", "<i4"), ("b", "<i4"), ("points", "<i4"), ("share", "<f8")])

Pair = tuple[int, int]


class Stored(Sequence[Features]):
    """The keypoints of a list of images, in files of the work folder; made if not there."""

    def __init__(
        self, root: Path, images: Sequence[str], work: Path, progress: Progress | None
    ) -> None:
        self._length = len(images)
        self._files = [work / f"keypoints-{start:07}.npy" for start in range(0, len(images), CHUNK)]
        missing = [n for n, file in enumerate(self._files) if not file.is_file()]
        todo = [i for n in missing for i in range(n * CHUNK, min((n + 1) * CHUNK, len(images)))]
        found = in_threads(lambda i: _keypoints(root / images[i]), todo, "keypoints", progress)
        for number in missing:
            rows = min(CHUNK, len(images) - number * CHUNK)
            _save(self._files[number], [next(found) for _ in range(rows)])
        self._chunks = [np.load(file, mmap_mode="r") for file in self._files]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        row = self._chunks[index // CHUNK][index % CHUNK]
        row = row[~np.isnan(row["point"][:, 0])]
        return Features(row["point"], row["descriptor"])


def _keypoints(file: Path) -> npt.NDArray[np.void]:
    """Keypoints as POINTS records; those that the picture lacks are NaN."""
    records = np.zeros(POINTS, RECORD)
    records["point"] = np.nan
    with contextlib.suppress(OSError, BadImage):
        found = features_of(file.read_bytes())
        records["point"][: len(found.points)] = found.points
        records["descriptor"][: len(found.points)] = found.descriptors
    return records


def _save(file: Path, records: list[npt.NDArray[np.void]]) -> None:
    content = io.BytesIO()
    np.save(content, np.stack(records))
    replace_file(file, content.getvalue())


class Compared:
    """What pairs of images share; every comparison is kept in a file and not made twice."""

    def __init__(self, file: Path, features: Sequence[Features]) -> None:
        self._file = file
        self._features = features
        rows = np.fromfile(file, PAIR) if file.is_file() else np.empty(0, PAIR)
        replace_file(file, rows.tobytes())  # a killed process may have left half a row
        self._known = {(a, b): Shared(points, share) for a, b, points, share in rows.tolist()}

    def shared(self, pairs: Sequence[Pair], progress: Progress | None) -> list[Shared]:
        """What each pair shares."""
        new = [pair for pair in pairs if pair not in self._known]
        found = in_threads(self._compare, new, "comparing", progress)
        with self._file.open("ab", buffering=0) as stream:
            for pair, result in zip(new, found, strict=True):
                self._known[pair] = result
                stream.write(np.array((*pair, *result), PAIR).tobytes())
        return [self._known[pair] for pair in pairs]

    def _compare(self, pair: Pair) -> Shared:
        return shared(self._features[pair[0]], self._features[pair[1]])
