"""Near-duplicates among a folder's images, without originals to compare with.

Keypoints of every image, then the most alike pairs by vector, then registration of these pairs;
what is registered is joined. Everything found is kept in a work folder, from where a call that was
stopped goes on.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from study.data.audit.candidates import neighbors
from study.data.audit.candidates import vectors
from study.data.audit.keypoints import Compared
from study.data.audit.keypoints import Pair
from study.data.audit.keypoints import Stored
from study.data.parallel import Progress

# Strangers share 4 or 5 points; but X-rays of two people share up to 36, of ribs and burnt-in
# letters. They are 0.17 of the keypoints where the two overlap, at most; of copies 0.27 at least.
MIN_POINTS = 8
MIN_SHARE = 0.25
NEAREST = 30  # candidates known of each image
TRIED = 10  # of them tried in a round
LIMITS = (
    "Found are copies that were turned, mirrored, shifted, sheared, resized, recolored or encoded "
    "anew, and photographs that overlap. Not found are pictures with little texture, strong "
    "warping or blur, and different pictures of one patient."
)

CHUNK = 500  # pairs between two looks at what is joined already


def near_groups(
    root: Path, images: Sequence[str], work: Path, progress: Progress | None
) -> list[tuple[str, ...]]:
    """Groups of two or more near-duplicate images, largest first; each sorted.

    Args:
        root: the image root.
        images: ids; files that are no usable image have no near-duplicates.
        work: a folder for this list of images alone; a call that was stopped goes on from there.
        progress: called with "keypoints" and "comparing".

    Raises:
        OSError: the work folder cannot be written.
    """
    if len(images) < 2:
        return []
    features = Stored(root, images, work, progress)
    count = min(NEAREST, len(images) - 1)
    nearest, likeness = neighbors(*vectors(features, progress), count)
    compared = Compared(work / "pairs", features)
    joined = DisjointSet(range(len(images)))
    seen: set[Pair] = set()
    while pairs := _most_alike(joined, nearest, likeness, seen):
        seen.update(pairs)
        if not _join(joined, pairs, compared, progress):
            break
    groups = [tuple(sorted(images[i] for i in group)) for group in joined.subsets()]
    return sorted((g for g in groups if len(g) > 1), key=lambda group: (-len(group), group))


def _join(
    joined: DisjointSet, pairs: Sequence[Pair], compared: Compared, progress: Progress | None
) -> bool:
    """Joins the pairs that share enough, the most alike first; whether there was any."""
    before = joined.n_subsets
    for start in range(0, len(pairs), CHUNK):
        some = [pair for pair in pairs[start : start + CHUNK] if not joined.connected(*pair)]
        for pair, shared in zip(some, compared.shared(some, None), strict=True):
            if shared.points >= MIN_POINTS and shared.share >= MIN_SHARE:
                joined.merge(*pair)
        if progress:
            progress("comparing", min(start + CHUNK, len(pairs)), len(pairs))
    return bool(joined.n_subsets < before)


def _most_alike(
    joined: DisjointSet,
    nearest: npt.NDArray[np.int64],
    likeness: npt.NDArray[np.float32],
    seen: set[Pair],
) -> list[Pair]:
    """Of every group the `TRIED` most alike pairs with other groups that are not `seen` yet.

    After the first round, single images are left alone: their most alike pairs were seen.
    """
    group = np.array([joined[i] for i in range(len(nearest))])
    size = np.bincount(group, minlength=len(group))[group]
    order = np.argsort(-likeness, axis=None, kind="stable")
    a, b = order // nearest.shape[1], nearest.ravel()[order]
    wanted = group[a] != group[b]
    if seen:
        wanted &= (size[a] > 1) & (size[b] > 1)
    pairs = [(min(p), max(p)) for p in zip(a[wanted].tolist(), b[wanted].tolist(), strict=True)]
    table = pd.DataFrame({"pair": pairs, "group": group[a[wanted]]})
    table = table[~table["pair"].isin(seen)]
    table = table[table.groupby("group").cumcount() < TRIED]
    return list(dict.fromkeys(table["pair"]))
