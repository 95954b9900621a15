"""Whether two pictures show the same scene: SIFT keypoints that one affine map takes across.

Turns, shifts, shears, mirroring, a change of size or brightness leave such keypoints in place,
where hashes and histograms of the whole picture change.
"""

from typing import Any
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from study.data.decode import picture

AREA = 320 * 240  # pixels; pictures are scaled to about this many
MAX_ENLARGEMENT = 4.0  # of tiny pictures: more only invents detail
POINTS = 256  # the strongest keypoints kept of a picture
CONTRAST = 0.02  # half of OpenCV's default: stained cells are pale
RATIO = 0.8  # of distances to the best and the second-best match (Lowe 2004, section 7.1)
TOLERANCE = 3.0  # pixels between a point and the image of its partner
MIN_MATCHES = 6  # twice what an affine map is fixed by
STRETCH = (0.4, 2.5)  # what the map may do to lengths

# In a mirrored picture, a keypoint's 4 x 4 cells come in reverse order across its direction, and
# its 8 directions run the other way round.
_MIRROR = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].reshape(-1)


class Features(NamedTuple):
    """The strongest keypoints of a picture, n of them."""

    points: npt.NDArray[np.float32]  # (n, 2) x and y in pixels of the scaled picture
    descriptors: npt.NDArray[np.uint8]  # (n, 128) SIFT

    def mirrored(self) -> "Features":
        """The features that the mirrored picture would have, at the same points."""
        return Features(self.points, self.descriptors[:, _MIRROR])


class Shared(NamedTuple):
    """What two pictures have in common."""

    points: int  # keypoints that one map takes from one to the other
    share: float  # of the keypoints where the two overlap, 0 to 1


NOTHING = Shared(0, 0.0)


def features_of(content: bytes, area: int = AREA, points: int = POINTS) -> Features:
    """The strongest `points` keypoints of an image file's picture, scaled to about `area` pixels.

    Raises:
        BadImage: the bytes are no usable image.
    """
    grey = _scaled(picture(content, least=round(area**0.5)).convert("L"), area)
    sift = cv2.SIFT.create(nfeatures=points, contrastThreshold=CONTRAST)
    keypoints, descriptors = sift.detectAndCompute(np.asarray(grey), None)
    if descriptors is None:
        return Features(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8))
    places = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return Features(places[:points], descriptors[:points].astype(np.uint8))


def _scaled(grey: Image.Image, area: int) -> Image.Image:
    scale = min((area / (grey.width * grey.height)) ** 0.5, MAX_ENLARGEMENT)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    return grey.resize(size, Image.Resampling.BILINEAR)


def shared(a: Features, b: Features) -> Shared:
    """What one affine map takes from a to b, b mirrored or not; of strangers about 4 points."""
    directions = rooted(a.descriptors)
    return max(_agreeing(a, other, directions) for other in (b, b.mirrored()))


def shifted_points(a: Features, b: Features) -> int:
    """How many keypoints one plain shift takes from a to b; by chance 1 to 4."""
    rows, partners = _matches(rooted(a.descriptors), rooted(b.descriptors))
    if not len(rows):
        return 0
    shifts = b.points[partners] - a.points[rows]
    near = np.linalg.norm(shifts[:, None] - shifts, axis=2) < TOLERANCE
    agreeing = near[near.sum(1).argmax()]
    return _distinct(a.points[rows[agreeing]], b.points[partners[agreeing]])


def rooted(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(n, 128) unit vectors whose dot product is the Hellinger kernel (Arandjelovic 2012)."""
    values = descriptors.astype(np.float32)
    shares: npt.NDArray[np.float32] = values / np.maximum(values.sum(1, keepdims=True), 1e-9)
    return np.sqrt(shares)


def _agreeing(a: Features, b: Features, directions: npt.NDArray[np.float32]) -> Shared:
    rows, partners = _matches(directions, rooted(b.descriptors))
    if len(rows) < MIN_MATCHES:
        return NOTHING
    source, target = a.points[rows], b.points[partners]
    matrix, mask = cv2.estimateAffine2D(
        source, target, ransacReprojThreshold=TOLERANCE, maxIters=1000, confidence=0.99
    )
    if matrix is None or not _plausible(matrix):
        return NOTHING
    kept = mask.ravel() > 0
    points = _distinct(source[kept], target[kept])
    back = cv2.invertAffineTransform(matrix)
    overlap = min(_inside(a, matrix, b), _inside(b, back, a))
    return Shared(points, round(min(1.0, points / max(1, overlap)), 3))


def _inside(a: Features, matrix: npt.NDArray[Any], b: Features) -> int:
    """How many places of a the map takes to where b has keypoints."""
    mapped = np.unique(a.points, axis=0) @ matrix[:, :2].T + matrix[:, 2]
    low, high = b.points.min(0) - TOLERANCE, b.points.max(0) + TOLERANCE
    return int(((mapped >= low) & (mapped <= high)).all(1).sum())


def _distinct(*ends: npt.NDArray[np.float32]) -> int:
    # several keypoints lie at one point, where they have several directions: it counts once
    return min(len(np.unique(points, axis=0)) for points in ends)


def _matches(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if min(len(a), len(b)) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    likeness = a @ b.T
    every = np.arange(len(a))
    partners = likeness.argmax(1)
    best = likeness[every, partners]
    likeness[every, partners] = -1
    # squared distance of unit vectors: 2 - 2 * dot product
    clear = 1 - best < RATIO**2 * (1 - likeness.max(1))
    return np.flatnonzero(clear), partners[clear]


def _plausible(matrix: npt.NDArray[Any]) -> bool:
    most, least = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(STRETCH[0] <= least and most <= STRETCH[1])
