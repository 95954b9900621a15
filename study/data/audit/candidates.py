"""Propose images that may show the same scene, by one vector per image (VLAD).

The vector is made of the image's keypoints. It is cheap and coarse: it proposes pairs, and
`registration` decides. The vector of a turned or shifted copy stays near the original's. That of a
mirrored copy does not, so the vector of each image's mirror image is computed as well.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from study.data.audit.registration import Features
from study.data.audit.registration import to_root_sift
from study.data.parallel import ProgressCallback

WORDS = 64  # clusters of descriptors
DIMENSIONS = 256  # of a vector, out of 64 * 128
SAMPLE = 2000  # pictures from which both are learned
ROWS = 1024  # pictures handled at a time: 50 MB of likenesses to 12,500 others

Vectors = npt.NDArray[np.float32]


def compute_vectors(
    features: Sequence[Features], progress: ProgressCallback | None = None
) -> tuple[Vectors, Vectors]:
    """Return unit vectors of N pictures and of their mirror images.

    Each array has shape (N, up to 256). The vector of a picture without keypoints is 0.

    A vector is made of the residuals of rooted SIFT to the nearest of 64 words. Each word's sum is
    scaled to unit length (Jegou et al. 2010, Arandjelovic and Zisserman 2013), and all are
    projected on their principal components.
    """
    sampled = np.random.default_rng(0).permutation(len(features))[:SAMPLE]
    descriptors = to_root_sift(np.concatenate([features[i].descriptors[:64] for i in sampled]))
    if not len(descriptors):
        return np.zeros((len(features), 1), np.float32), np.zeros((len(features), 1), np.float32)
    centers = _learn_words(descriptors)
    residuals = np.stack([_sum_residuals(features[i], centers) for i in sampled])
    pca = PCA(min(DIMENSIONS, *residuals.shape), random_state=0).fit(residuals)
    batches = []
    for start in range(0, len(features), ROWS):
        upright = [features[i] for i in range(start, min(start + ROWS, len(features)))]
        mirrored = [feature.mirrored() for feature in upright]
        batches.append([_project(batch, centers, pca) for batch in (upright, mirrored)])
        if progress:
            progress("describing", start + len(upright), len(features))
    upright_vectors, mirrored_vectors = zip(*batches, strict=True)
    return np.concatenate(upright_vectors), np.concatenate(mirrored_vectors)


def find_neighbors(
    upright: Vectors, mirrored: Vectors, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Find the `count` pictures most like each of N pictures.

    Returns:
        Their indices and their likeness (-1 to 1), each of shape (N, count).
    """
    nearest = []
    likeness = []
    for start in range(0, len(upright), ROWS):
        batch = upright[start : start + ROWS]
        table = np.maximum(batch @ upright.T, batch @ mirrored.T)
        rows = np.arange(len(batch))
        table[rows, rows + start] = -2  # below any likeness: no picture is its own neighbor
        columns = np.argpartition(-table, count - 1, axis=1)[:, :count]
        nearest.append(columns)
        likeness.append(table[rows[:, None], columns])
    return np.concatenate(nearest), np.concatenate(likeness)


def _learn_words(descriptors: Vectors) -> Vectors:
    """Return the cluster centers of descriptors, up to `WORDS` of them."""
    count = min(WORDS, len(descriptors))
    clusters = MiniBatchKMeans(count, n_init=1, batch_size=4096, random_state=0).fit(descriptors)
    centers: Vectors = clusters.cluster_centers_
    return centers


def _sum_residuals(features: Features, centers: Vectors) -> Vectors:
    descriptors = to_root_sift(features.descriptors)
    # The nearest center has the greatest dot product less half its squared length.
    words = (descriptors @ centers.T - (centers**2).sum(1) / 2).argmax(1)
    sums = np.zeros_like(centers, np.float32)
    np.add.at(sums, words, descriptors - centers[words])
    return _scale_to_unit(_scale_to_unit(sums).ravel())


def _project(features: Sequence[Features], centers: Vectors, pca: PCA) -> Vectors:
    residuals = np.stack([_sum_residuals(feature, centers) for feature in features])
    has_keypoints = np.array([[len(feature.points) > 0] for feature in features])
    return np.asarray(_scale_to_unit(pca.transform(residuals)) * has_keypoints, np.float32)


def _scale_to_unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)
