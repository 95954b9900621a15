"""Find near-duplicates among a folder's images, without originals to compare with.

First the keypoints of every image are read. Then the most similar pairs are proposed by their
vectors, and these pairs are registered. Pairs that can be registered are joined into groups. All
results are kept in a work folder, from which a call that was stopped continues.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from study.data.audit.candidates import compute_vectors
from study.data.audit.candidates import find_neighbors
from study.data.audit.keypoints import ComparisonCache
from study.data.audit.keypoints import Pair
from study.data.audit.keypoints import StoredFeatures
from study.data.parallel import ProgressCallback

# Unrelated pictures share 4 or 5 points, but X-rays of two people share up to 36: of ribs and of
# burnt-in letters. Their share of the keypoints where the two pictures overlap is at most 0.17.
# Copies share at least 0.27.
MIN_POINTS = 8
MIN_SHARE = 0.25
NEAREST = 30  # candidate neighbors of each image
TRIED = 10  # most candidate pairs of a group that are compared in one round
LIMITS = (
    "The search finds copies that were turned, mirrored, shifted, sheared, resized, recolored or "
    "encoded anew, and photographs that overlap. It does not find pictures with little texture, "
    "strong warping or blur, nor different pictures of one patient."
)

# Pairs compared at a time. Between chunks, pairs that are in one group by then are dropped.
CHUNK = 500


def find_near_groups(
    root: Path, images: Sequence[str], work: Path, progress: ProgressCallback | None
) -> list[tuple[str, ...]]:
    """Return groups of two or more near-duplicate images, largest first.

    Each group is sorted.

    Args:
        root: the image root.
        images: ids. Files that are no usable image have no near-duplicates.
        work: a folder for this list of images alone. A call that was stopped continues from it.
        progress: called with "keypoints" and "comparing".

    Raises:
        OSError: the work folder cannot be written.
    """
    if len(images) < 2:
        return []
    features = StoredFeatures(root, images, work, progress)
    count = min(NEAREST, len(images) - 1)
    nearest, likeness = find_neighbors(*compute_vectors(features, progress), count)
    compared = ComparisonCache(work / "pairs", features)
    partition = DisjointSet(range(len(images)))
    seen: set[Pair] = set()
    while pairs := _propose_pairs(partition, nearest, likeness, seen):
        seen.update(pairs)
        if not _merge_matches(partition, pairs, compared, progress):
            break
    groups = [tuple(sorted(images[i] for i in group)) for group in partition.subsets()]
    return sorted((g for g in groups if len(g) > 1), key=lambda group: (-len(group), group))


def _merge_matches(
    partition: DisjointSet,
    pairs: Sequence[Pair],
    compared: ComparisonCache,
    progress: ProgressCallback | None,
) -> bool:
    """Merge the pairs that share enough, the most similar first.

    Returns:
        True if any pair was merged.
    """
    before = partition.n_subsets
    for start in range(0, len(pairs), CHUNK):
        batch = [pair for pair in pairs[start : start + CHUNK] if not partition.connected(*pair)]
        for pair, shared in zip(batch, compared.shared(batch, None), strict=True):
            if shared.points >= MIN_POINTS and shared.share >= MIN_SHARE:
                partition.merge(*pair)
        if progress:
            progress("comparing", min(start + CHUNK, len(pairs)), len(pairs))
    return bool(partition.n_subsets < before)


def _propose_pairs(
    partition: DisjointSet,
    nearest: npt.NDArray[np.int64],
    likeness: npt.NDArray[np.float32],
    seen: set[Pair],
) -> list[Pair]:
    """Return the most similar pairs across groups, without those in `seen`.

    There are up to `TRIED` pairs of every group. After the first round, pairs with a single image
    are left out, because its most similar pairs have been compared.
    """
    group = np.array([partition[i] for i in range(len(nearest))])
    size = np.bincount(group, minlength=len(group))[group]
    order = np.argsort(-likeness, axis=None, kind="stable")
    a = order // nearest.shape[1]
    b = nearest.ravel()[order]
    is_candidate = group[a] != group[b]
    if seen:
        is_candidate &= (size[a] > 1) & (size[b] > 1)
    pairs = [
        (min(p), max(p))
        for p in zip(a[is_candidate].tolist(), b[is_candidate].tolist(), strict=True)
    ]
    table = pd.DataFrame({"pair": pairs, "group": group[a[is_candidate]]})
    table = table[~table["pair"].isin(seen)]
    table = table[table.groupby("group").cumcount() < TRIED]
    return list(dict.fromkeys(table["pair"]))
