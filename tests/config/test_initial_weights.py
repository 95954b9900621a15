"""The kind of the weights that a backbone starts from."""

import hashlib
from pathlib import Path

import pytest

from study.config.backbones import BACKBONES
from study.config.initial_weights import weights_kind
from study.config.trial_config import TrialConfig


@pytest.mark.parametrize("kind", ["imagenet", "none"])
def test_weights_kind_of_named_weights_is_their_name(kind: str) -> None:
    assert weights_kind(TrialConfig(weights=kind)) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mobilenet.partial.weights.h5", "partial"),
        ("partially.h5", "file"),
        ("imagenet.h5", "file"),
        ("mobilenet_1_0_224_tf_no_top.h5", "file"),
    ],
)
def test_weights_kind_of_an_unknown_file_is_never_imagenet(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    assert weights_kind(TrialConfig(weights=str(path))) == kind


def test_weights_kind_ignores_the_name_of_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.partial.b" / "weights.h5"
    path.parent.mkdir()
    path.write_bytes(b"anything")
    assert weights_kind(TrialConfig(weights=str(path))) == "file"


def test_published_weights_have_md5_digests() -> None:
    length = len(hashlib.md5(b"").hexdigest())
    for backbone in BACKBONES.values():
        assert backbone.published_md5
        assert all(len(bytes.fromhex(d)) * 2 == length for d in backbone.published_md5)
