import io
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image
from PIL import ImageOps

from study.data.audit.registration import count_shifted_points
from study.data.audit.registration import extract_features
from study.data.audit.registration import Features
from study.data.audit.registration import match_features
from study.data.audit.registration import POINTS
from study.data.intact import BadImage
from tests.support import images as make

SOME = settings(max_examples=12)


@cache
def scene(seed: int) -> Features:
    return features_of(make.draw_scene(seed))


def count_shared_points(a: Features, b: Features) -> int:
    return match_features(a, b).points


def features_of(image: Image.Image, kind: str = "PNG") -> Features:
    stream = io.BytesIO()
    image.save(stream, kind)
    return extract_features(stream.getvalue())


@SOME
@given(
    turn=st.floats(0, 360),
    mirror=st.booleans(),
    shear=st.floats(-0.3, 0.3),
    shift=st.floats(-0.15, 0.15),
)
def test_altered_copy_shares_keypoints_with_its_original_alone(
    turn: float, mirror: bool, shear: float, shift: float
) -> None:
    copy = features_of(
        make.make_altered_copy(make.draw_scene(0), turn, mirror, shear, shift), "JPEG"
    )
    assert count_shared_points(scene(0), copy) >= 30
    assert count_shared_points(copy, scene(0)) >= 30
    assert count_shared_points(scene(1), copy) <= 8


@SOME
@given(st.integers(0, 99), st.integers(0, 99))
def test_different_pictures_share_few_keypoints(one: int, other: int) -> None:
    if one != other:
        assert count_shared_points(scene(one), scene(other)) <= 8


def test_overlapping_pictures_share_keypoints() -> None:
    wide = make.draw_scene(2, width=960)
    left, right = (
        features_of(wide.crop((0, 0, 640, 480))),
        features_of(wide.crop((320, 0, 960, 480))),
    )
    assert count_shared_points(left, right) >= 12
    assert count_shifted_points(left, right) >= 12


def test_turned_copy_shares_few_shifted_keypoints() -> None:
    copy = features_of(make.make_altered_copy(make.draw_scene(0), 40))
    assert count_shifted_points(scene(0), copy) <= 4
    assert count_shifted_points(scene(0), scene(1)) <= 4


def test_mirrored_features_match_those_of_the_mirrored_picture() -> None:
    image = make.draw_scene(3, 320, 240)
    reckoned, seen = features_of(image).mirrored(), features_of(ImageOps.mirror(image))
    flipped = seen.points * [-1, 1] + [image.width - 1, 0]
    apart = np.linalg.norm(reckoned.points[:, None] - flipped, axis=2)
    differences = reckoned.descriptors[:, None].astype(float) - seen.descriptors
    length = np.where(apart < 1, np.linalg.norm(differences, axis=2), np.inf).min(1)
    assert np.isfinite(length).sum() > 40
    assert np.median(length[np.isfinite(length)]) < 60  # descriptors are about 512 long


def test_extracted_features_have_the_promised_shapes() -> None:
    found = features_of(make.draw_scene(4))
    assert found.points.shape == (POINTS, 2)
    assert found.descriptors.shape == (POINTS, 128)
    assert found.descriptors.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (3000, 2)])
def test_picture_without_texture_has_no_keypoints(size: tuple[int, int]) -> None:
    blank = features_of(Image.new("RGB", size, (200, 10, 10)))
    assert blank.points.shape == (0, 2)
    assert count_shared_points(blank, blank) == 0
    assert count_shared_points(blank, scene(0)) == 0
    assert count_shifted_points(blank, scene(0)) == 0


def test_broken_file_raises_bad_image() -> None:
    with pytest.raises(BadImage):
        extract_features(b"no image")
