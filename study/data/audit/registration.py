"""Decide if two pictures show the same scene, from their SIFT keypoints.

They do if one affine map takes many keypoints of one picture to those of the other. Such keypoints
survive turns, shifts, shears, mirroring, and changes of size or brightness, all of which change
hashes and histograms of the whole picture.
"""

from typing import Any
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from study.data.decode import load_rgb_image

AREA = 320 * 240  # pixels; pictures are scaled to about this many
MAX_ENLARGEMENT = 4.0  # of tiny pictures, because more only invents detail
POINTS = 256  # the strongest keypoints kept of a picture
CONTRAST = 0.02  # half of OpenCV's default, because stained cells are pale
RATIO = 0.8  # of distances to the best and the second-best match (Lowe 2004, section 7.1)
TOLERANCE = 3.0  # pixels between a point and the image of its partner
MIN_MATCHES = 6  # twice the three that determine an affine map
STRETCH = (0.4, 2.5)  # range of factors by which the map may change lengths

# In a mirrored picture, a keypoint's 4 x 4 cells come in reverse order across its direction, and
# its 8 directions run the other way round.
_MIRRORED_ORDER = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].reshape(-1)


class Features(NamedTuple):
    """The n strongest keypoints of a picture."""

    points: npt.NDArray[np.float32]  # (n, 2) x and y in pixels of the scaled picture
    descriptors: npt.NDArray[np.uint8]  # (n, 128) SIFT

    def mirrored(self) -> "Features":
        """Return the features of the mirrored picture, at the same points."""
        return Features(self.points, self.descriptors[:, _MIRRORED_ORDER])


class Match(NamedTuple):
    """The keypoints that two pictures have in common."""

    points: int  # keypoints that one map takes from one to the other
    share: float  # `points` over the keypoints where the two pictures overlap, 0 to 1


NOTHING = Match(0, 0.0)


def extract_features(content: bytes, area: int = AREA, points: int = POINTS) -> Features:
    """Return the strongest keypoints of an image file's picture.

    Args:
        content: the bytes of the image file.
        area: the approximate number of pixels to which the picture is scaled.
        points: the greatest number of keypoints to return.

    Raises:
        BadImage: the bytes are no usable image.
    """
    grey = _scale_to_area(load_rgb_image(content, least=round(area**0.5)).convert("L"), area)
    sift = cv2.SIFT.create(nfeatures=points, contrastThreshold=CONTRAST)
    keypoints, descriptors = sift.detectAndCompute(np.asarray(grey), None)
    if descriptors is None:
        return Features(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8))
    coordinates = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return Features(coordinates[:points], descriptors[:points].astype(np.uint8))


def _scale_to_area(grey: Image.Image, area: int) -> Image.Image:
    scale = min((area / (grey.width * grey.height)) ** 0.5, MAX_ENLARGEMENT)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    return grey.resize(size, Image.Resampling.BILINEAR)


def match_features(a: Features, b: Features) -> Match:
    """Return the keypoints that one affine map takes from a to b, mirrored or not.

    Unrelated pictures share about 4 points.
    """
    directions = to_root_sift(a.descriptors)
    return max(_match_by_affine_map(a, other, directions) for other in (b, b.mirrored()))


def count_shifted_points(a: Features, b: Features) -> int:
    """Count the keypoints that one plain shift takes from a to b.

    There are 1 to 4 by chance.
    """
    rows, partners = _match_descriptors(to_root_sift(a.descriptors), to_root_sift(b.descriptors))
    if not len(rows):
        return 0
    shifts = b.points[partners] - a.points[rows]
    is_near = np.linalg.norm(shifts[:, None] - shifts, axis=2) < TOLERANCE
    agrees = is_near[is_near.sum(1).argmax()]
    return _count_distinct(a.points[rows[agrees]], b.points[partners[agrees]])


def to_root_sift(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return RootSIFT: unit vectors whose dot product is the Hellinger kernel.

    Their shape is (n, 128) (Arandjelovic 2012).
    """
    values = descriptors.astype(np.float32)
    shares: npt.NDArray[np.float32] = values / np.maximum(values.sum(1, keepdims=True), 1e-9)
    return np.sqrt(shares)


def _match_by_affine_map(a: Features, b: Features, directions: npt.NDArray[np.float32]) -> Match:
    rows, partners = _match_descriptors(directions, to_root_sift(b.descriptors))
    if len(rows) < MIN_MATCHES:
        return NOTHING
    source = a.points[rows]
    target = b.points[partners]
    matrix, mask = cv2.estimateAffine2D(
        source, target, ransacReprojThreshold=TOLERANCE, maxIters=1000, confidence=0.99
    )
    if matrix is None or not _is_plausible(matrix):
        return NOTHING
    is_inlier = mask.ravel() > 0
    points = _count_distinct(source[is_inlier], target[is_inlier])
    inverse = cv2.invertAffineTransform(matrix)
    overlap = min(_count_inside(a, matrix, b), _count_inside(b, inverse, a))
    return Match(points, round(min(1.0, points / max(1, overlap)), 3))


def _count_inside(a: Features, matrix: npt.NDArray[Any], b: Features) -> int:
    """Count the distinct points of a that the map takes to where b has keypoints."""
    mapped = np.unique(a.points, axis=0) @ matrix[:, :2].T + matrix[:, 2]
    low = b.points.min(0) - TOLERANCE
    high = b.points.max(0) + TOLERANCE
    return int(((mapped >= low) & (mapped <= high)).all(1).sum())


def _count_distinct(*ends: npt.NDArray[np.float32]) -> int:
    # Several keypoints lie at one point if it has several directions. It counts once.
    return min(len(np.unique(points, axis=0)) for points in ends)


def _match_descriptors(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if min(len(a), len(b)) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    likeness = a @ b.T
    rows = np.arange(len(a))
    partners = likeness.argmax(1)
    best = likeness[rows, partners]
    likeness[rows, partners] = -1
    # The squared distance of unit vectors is 2 - 2 * dot product. The factor 2 cancels.
    is_clear = 1 - best < RATIO**2 * (1 - likeness.max(1))
    return np.flatnonzero(is_clear), partners[is_clear]


def _is_plausible(matrix: npt.NDArray[Any]) -> bool:
    longest, shortest = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(STRETCH[0] <= shortest and longest <= STRETCH[1])
