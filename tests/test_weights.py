"""Weights files known by their tensors: published, partial or another network's."""

import os
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from study.common.errors import StudyError
from study.config.fingerprint import fingerprint
from study.config.initial_weights import weights_kind
from study.config.names import make_trial_title
from study.config.trial_config import TrialConfig
from study.training.backbone import build_backbone
from study.weights import compare_with_published
from study.weights import digest_weights
from study.weights import find_published_weights

COMPLETE = "mobilenet_1_0_224_notop.weights.h5"
NARROW = "mobilenet_2_5_224_tf_no_top.h5"
DIGEST = "b8c0aeb5fc63059affb61a02dd18c74884c85facddf27537a308c090deb52a6a"
KERNEL = "layers/conv2d_13/vars/0"  # the last pointwise convolution's


@pytest.fixture
def complete(shared_dir: Path) -> Path:
    return shared_dir / "weights" / COMPLETE


@pytest.fixture
def damaged(complete: Path, tmp_path: Path) -> Path:
    """The complete file, but for one number of one kernel."""
    path = shutil.copyfile(complete, tmp_path / COMPLETE)
    with h5py.File(path, "r+") as file:
        file[KERNEL][0, 0, 0, 0] += 1e-3
    return path


def mobilenet(weights: Path | None, alpha: float = 1.0) -> keras.Model:
    options = {"include_top": False, "input_shape": (32, 32, 3), "alpha": alpha}
    return keras.applications.MobileNet(weights=weights and str(weights), **options)


def key(path: Path | str, **fields: float) -> str:
    return fingerprint(TrialConfig(weights=str(path), **fields), "d")  # type: ignore[arg-type]


def test_weights_digest_does_not_depend_on_dtype_or_memory_order() -> None:
    tensor = np.arange(6, dtype=np.float32).reshape(2, 3)
    same = [tensor.astype(">f8"), np.asfortranarray(tensor), tensor.astype(np.float16)]
    assert {digest_weights([each]) for each in same} == {digest_weights([tensor])}
    assert digest_weights([tensor, tensor + 1]) != digest_weights([tensor + 1, tensor])


@pytest.mark.shared
@pytest.mark.parametrize(("name", "alpha"), [(COMPLETE, 1.0), (NARROW, 0.25)])
def test_published_table_has_the_digest_of_what_keras_loads(
    shared_dir: Path, name: str, alpha: float
) -> None:
    known = find_published_weights("mobilenet", alpha)
    assert known is not None
    model = mobilenet(shared_dir / "weights" / name, alpha)
    assert digest_weights(model.get_weights()) == known.digest
    assert [digest_weights([x]) for x in model.get_weights()] == list(known.tensors.values())


@pytest.mark.shared
def test_complete_weights_file_of_either_format_is_imagenet(complete: Path, tmp_path: Path) -> None:
    legacy = tmp_path / "any_name.partial.h5"
    write_legacy(mobilenet(complete), legacy)
    for path in (complete, legacy):
        assert weights_kind(TrialConfig(weights=str(path))) == "imagenet"
        assert key(path) == key("imagenet")


@pytest.mark.shared
def test_weights_file_of_either_layout_is_read_under_any_name(
    complete: Path, tmp_path: Path
) -> None:
    legacy = tmp_path / "legacy.h5"
    write_legacy(mobilenet(complete), legacy)
    names = {"mine.h5": complete, "mine": complete, "mine.weights.h5": legacy}
    for name, source in names.items():
        path = shutil.copyfile(source, tmp_path / name)
        config = TrialConfig(image_size=32, weights=str(path))
        assert weights_kind(config) == "imagenet"
        assert digest_weights(build_backbone(config, fused=False).get_weights()) == DIGEST


@pytest.mark.shared
def test_weights_file_of_another_width_is_imagenet_for_its_own(shared_dir: Path) -> None:
    path = shared_dir / "weights" / NARROW
    narrow = TrialConfig(alpha=0.25, weights=str(path))
    assert weights_kind(narrow) == "imagenet"
    assert key(path, alpha=0.25) == key("imagenet", alpha=0.25)
    assert weights_kind(narrow.replace(alpha=1.0)) == "file"
    assert weights_kind(narrow.replace(backbone="vgg16", alpha=1.0)) == "file"


@pytest.mark.shared
def test_weights_file_with_one_changed_number_is_partial(damaged: Path, complete: Path) -> None:
    comparison = compare_with_published(damaged, "mobilenet", 1.0)
    assert str(comparison) == "134/135"
    assert weights_kind(TrialConfig(weights=str(damaged))) == "partial"
    assert len({key(damaged), key(complete)}) == 2


def test_weights_file_of_unknown_weights_is_of_kind_file(tmp_path: Path) -> None:
    path = tmp_path / "mobilenet.partial.weights.h5"
    mobilenet(None).save_weights(path)
    assert weights_kind(TrialConfig(weights=str(path))) == "file"


@pytest.mark.shared
def test_weights_file_changed_in_place_is_read_again(complete: Path, tmp_path: Path) -> None:
    path = shutil.copyfile(complete, tmp_path / COMPLETE)
    config = TrialConfig(weights=str(path))
    assert weights_kind(config) == "imagenet"
    with h5py.File(path, "r+") as file:
        file[KERNEL][0, 0, 0, 0] = 0
    assert weights_kind(config) == "partial"


def test_fingerprint_of_a_file_changed_in_place_follows_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    keys = []
    for number, content in enumerate((b"one", b"two", b"one")):  # of equal size
        path.write_bytes(content)
        os.utime(path, ns=(number, number))
        keys.append(key(path))
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.shared
@pytest.mark.parametrize("source", ["complete", "damaged"])
def test_downloaded_weights_that_are_not_the_published_are_refused(
    source: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras finds the file in its cache, as after a download."""
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))  # as KERAS_HOME does
    (tmp_path / "models").mkdir()
    model = mobilenet(request.getfixturevalue(source))
    write_legacy(model, tmp_path / "models" / "mobilenet_1_0_224_tf_no_top.h5")
    config = TrialConfig(image_size=32)
    if source == "complete":
        assert digest_weights(build_backbone(config, fused=False).get_weights()) == DIGEST
    else:
        with pytest.raises(StudyError, match="not the published ones: delete"):
            build_backbone(config, fused=False)


def write_legacy(model: keras.Model, path: Path) -> None:
    """Write a model's weights in Keras 2's layout, as the published files are."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable.name}:0" for variable in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value


@pytest.mark.shared
def test_title_names_weights_that_are_not_imagenet(complete: Path, damaged: Path) -> None:
    usual = make_trial_title(TrialConfig(dataset="chest"), "")
    assert make_trial_title(TrialConfig(dataset="chest", weights=str(complete)), "") == usual
    assert (
        make_trial_title(TrialConfig(dataset="chest", weights=str(damaged)), "")
        == f"{usual} · weights=file"
    )
