"""Which pictures may show the same scene: one vector for each, made of its keypoints (VLAD).

Cheap and coarse: it proposes pairs, and `registration` decides. The vector of a turned or shifted
copy stays near; that of a mirrored one is reckoned beside it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from study.data.audit.registration import Features
from study.data.audit.registration import rooted
from study.data.parallel import Progress

WORDS = 64  # clusters of descriptors
DIMENSIONS = 256  # of a vector, out of 64 * 128
SAMPLE = 2000  # pictures from which both are learned
ROWS = 1024  # pictures handled at a time: 50 MB of likenesses to 12,500 others

Vectors = npt.NDArray[np.float32]


def vectors(
    features: Sequence[Features], progress: Progress | None = None
) -> tuple[Vectors, Vectors]:
    """Unit vectors (N, up to 256) of N pictures and of their mirror images; 0 without keypoints.

    Residuals of rooted SIFT to their nearest of 64 words, each word's sum of unit length (Jegou et
    al. 2010, Arandjelovic and Zisserman 2013), projected on their principal components.
    """
    chosen = np.random.default_rng(0).permutation(len(features))[:SAMPLE]
    descriptors = rooted(np.concatenate([features[i].descriptors[:64] for i in chosen]))
    if not len(descriptors):
        return np.zeros((len(features), 1), np.float32), np.zeros((len(features), 1), np.float32)
    count = min(WORDS, len(descriptors))
    words = MiniBatchKMeans(count, n_init=1, batch_size=4096, random_state=0).fit(descriptors)
    centers = words.cluster_centers_
    sample = np.stack([_residuals(features[i], centers) for i in chosen])
    main = PCA(min(DIMENSIONS, *sample.shape), random_state=0).fit(sample)
    parts = []
    for start in range(0, len(features), ROWS):
        some = [features[i] for i in range(start, min(start + ROWS, len(features)))]
        both = some, [feature.mirrored() for feature in some]
        parts.append([_projected(side, centers, main) for side in both])
        if progress:
            progress("describing", start + len(some), len(features))
    upright, mirrored = zip(*parts, strict=True)
    return np.concatenate(upright), np.concatenate(mirrored)


def neighbors(
    upright: Vectors, mirrored: Vectors, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """For each of N pictures the `count` most alike, (N, count), and their likeness (-1..1)."""
    nearest, likeness = [], []
    for start in range(0, len(upright), ROWS):
        some = upright[start : start + ROWS]
        table = np.maximum(some @ upright.T, some @ mirrored.T)
        rows = np.arange(len(some))
        table[rows, rows + start] = -2  # not its own neighbor
        found = np.argpartition(-table, count - 1, axis=1)[:, :count]
        nearest.append(found)
        likeness.append(table[rows[:, None], found])
    return np.concatenate(nearest), np.concatenate(likeness)


def _residuals(features: Features, centers: Vectors) -> Vectors:
    descriptors = rooted(features.descriptors)
    word = (descriptors @ centers.T - (centers**2).sum(1) / 2).argmax(1)
    sums = np.zeros_like(centers, np.float32)
    np.add.at(sums, word, descriptors - centers[word])
    return _unit(_unit(sums).ravel())


def _projected(features: Sequence[Features], centers: Vectors, main: PCA) -> Vectors:
    residuals = np.stack([_residuals(feature, centers) for feature in features])
    described = np.array([[len(feature.points) > 0] for feature in features])
    return np.asarray(_unit(main.transform(residuals)) * described, np.float32)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)
