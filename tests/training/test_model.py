"""Models built from configs."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image

from study.common.errors import StudyError
from study.config.backbones import BACKBONES
from study.config.trial_config import TrialConfig
from study.training.application import APPLICATIONS
from study.training.model import build_compiled_model
from study.training.model import build_model

SMALL = TrialConfig(alpha=0.25, weights="none", image_size=32)
PREPROCESSORS = {
    "mobilenet": keras.applications.mobilenet.preprocess_input,
    "inception_v3": keras.applications.inception_v3.preprocess_input,
    "xception": keras.applications.xception.preprocess_input,
    "resnet50": keras.applications.resnet50.preprocess_input,
    "vgg16": keras.applications.vgg16.preprocess_input,
}


def picture(size: int) -> NDArray[np.uint8]:
    """A photograph, (1, size, size, 3)."""
    photograph = load_sample_image("flower.jpg")
    return np.ascontiguousarray(photograph[None, 100 : 100 + size, 200 : 200 + size])


def backbone_of(model: keras.Model) -> keras.Model:
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def before_backbone(model: keras.Model) -> keras.Model:
    """From raw images to what the backbone sees."""
    position = model.layers.index(backbone_of(model))
    return keras.Model(model.input, model.layers[position - 1].output)


def with_random_weights(model: keras.Model) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.1, 0.3, w.shape).astype(w.dtype) for w in model.get_weights()]
    model.set_weights(weights)
    return weights


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_at_its_least_size_has_its_own_scaling(
    name: str,
) -> None:
    size = BACKBONES[name].min_image_size
    config = TrialConfig(backbone=name, weights="none", image_size=size, scaling="backbone")
    model, images = build_model(config, 3), picture(size)
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (1, 3)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1)
    assert all(layer.trainable for layer in model.layers)
    expected = PREPROCESSORS[name](images.astype(np.float32))
    np.testing.assert_allclose(before_backbone(model)(images), expected, atol=1e-3)


def test_every_backbone_has_an_application() -> None:
    assert APPLICATIONS.keys() == BACKBONES.keys() == PREPROCESSORS.keys()


def test_scaling_of_the_reports_divides_by_255() -> None:
    images = picture(32)
    seen = before_backbone(build_model(SMALL, 2))(images)
    np.testing.assert_allclose(seen, images / 255, rtol=1e-6)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_head_has_the_layers_of_the_config(number: int) -> None:
    model = build_model(SMALL.replace(hidden_layers=number, dense_units=12, dropout=0.25), 4)
    hidden = [layer for layer in model.layers if layer.name.startswith("hidden_")]
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.name for layer in hidden] == [f"hidden_{i + 1}" for i in range(number)]
    assert all(layer.units == 12 for layer in hidden)
    assert all(layer.activation is keras.activations.relu for layer in hidden)
    assert [layer.rate for layer in dropouts] == [0.25] * number
    assert model.output_shape == (None, 4)


def test_gap_head_averages_positions_and_flatten_keeps_them() -> None:
    config = SMALL.replace(image_size=64, hidden_layers=0)
    channels = backbone_of(build_model(config, 2)).output_shape[-1]
    assert build_model(config, 2).layers[-1].kernel.shape[0] == 2 * 2 * channels
    assert build_model(config.replace(head="gap"), 2).layers[-1].kernel.shape[0] == channels


def test_initial_weights_depend_on_the_seed() -> None:
    first, same, other = (
        build_model(SMALL.replace(seed=seed), 2).get_weights() for seed in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_fused_and_plain_models_with_the_same_weights_agree() -> None:
    fused, images = build_model(SMALL, 3), picture(32)
    weights = with_random_weights(fused)
    features = np.asarray(backbone_of(fused)(images / 255))
    plain = build_model(SMALL, 3, fused=False)
    plain.set_weights(weights)
    np.testing.assert_allclose(features, backbone_of(plain)(images / 255), rtol=1e-3)
    np.testing.assert_allclose(fused(images), plain(images), rtol=1e-3, atol=1e-6)
    kinds = {type(layer).__module__.split(".")[0] for layer in backbone_of(plain).layers}
    assert kinds == {"keras"}


@pytest.mark.parametrize("fused", [True, False])
def test_momentum_of_the_config_is_that_of_every_batch_normalization(fused: bool) -> None:
    layers = backbone_of(build_model(SMALL.replace(bn_momentum=0.875), 2, fused=fused)).layers
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 27  # as in MobileNet's paper: after each of its 27 convolutions
    assert {layer.momentum for layer in norms} == {0.875}


def frozen_and_not(model: keras.Model) -> tuple[list[keras.Layer], list[keras.Layer]]:
    """The backbone's layers with weights, from the input on."""
    layers = [layer for layer in backbone_of(model).layers if layer.weights]
    return [x for x in layers if not x.trainable], [x for x in layers if x.trainable]


@pytest.mark.parametrize(("share", "frozen"), [(1.0, 0), (0.75, 14), (0.25, 40), (0.0, 54)])
def test_trainable_share_trains_the_last_layers_of_the_backbone(share: float, frozen: int) -> None:
    model = build_model(SMALL.replace(trainable=share), 2)
    layers = [layer for layer in backbone_of(model).layers if layer.weights]
    assert len(layers) == 54
    assert frozen_and_not(model) == (layers[:frozen], layers[frozen:])
    assert all(variable.trainable for variable in model.layers[-1].variables)


@pytest.mark.parametrize("fused", [True, False])
def test_frozen_batch_normalization_keeps_its_averages(fused: bool) -> None:
    model = build_model(SMALL.replace(trainable=0.5), 2, fused=fused)
    images = np.concatenate([picture(32), 255 - picture(32)])
    before = {layer: layer.get_weights() for part in frozen_and_not(model) for layer in part}
    model(images, training=True)
    for layers, moves in zip(frozen_and_not(model), (False, True), strict=True):
        norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert len(norms) > 10
        for layer in norms:
            same = np.array_equal(layer.get_weights()[2], before[layer][2])
            assert same is not moves


def before_scaling(model: keras.Model) -> keras.Model:
    """From raw images to what becomes of them before they are scaled."""
    scaling = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
    return keras.Model(model.input, scaling.input)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_augmentation_changes_images_in_training_alone(precision: str) -> None:
    try:
        augment = before_scaling(build_model(SMALL.replace(augment=1.0, precision=precision), 2))
        images = np.repeat(picture(32), 16, axis=0)
        np.testing.assert_array_equal(augment(images, training=False), images)
        first, second = (np.asarray(augment(images, training=True)) for _ in range(2))
    finally:
        keras.config.set_dtype_policy("float32")
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert 200 < first.max() <= 255
    assert len({image.tobytes() for image in (*first, *second, *images)}) == 33


def distance(strength: float) -> float:
    """How far augmentation takes images, in mean pixel values (0 to 255), flips undone."""
    images = np.repeat(picture(64), 16, axis=0).astype(np.float32)
    model = before_scaling(build_model(SMALL.replace(augment=strength, image_size=64), 2))
    changed = np.asarray(model(images.astype(np.uint8), training=True))
    far = [abs(each - images).mean(axis=(1, 2, 3)) for each in (changed, changed[:, :, ::-1])]
    return float(np.minimum(*far).mean())


def test_augmentation_strength_is_how_far_images_are_changed() -> None:
    assert distance(1e-6) == pytest.approx(0, abs=0.01)  # a flip at most
    assert 1 < distance(0.1) < distance(0.3) < distance(1.0)


def test_augmentation_changes_neither_weights_nor_predictions() -> None:
    plain, augmented = build_model(SMALL, 2), build_model(SMALL.replace(augment=0.5), 2)
    weights = plain.get_weights()
    for a, b in zip(weights, augmented.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    images = picture(32)
    np.testing.assert_array_equal(plain(images), augmented(images, training=False))


def test_portable_model_predicts_the_same_however_it_is_called() -> None:
    model, images = build_model(SMALL.replace(augment=1.0), 2, fused=False), picture(32)
    np.testing.assert_array_equal(model(images), model(images, training=False))


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_weight_decay_shrinks_kernels_alone(precision: str) -> None:
    try:
        model = build_compiled_model(
            SMALL.replace(weight_decay=0.5, lr=0.1, precision=precision), 3
        )
    finally:
        keras.config.set_dtype_policy("float32")
    with_random_weights(model)
    before = {variable.path: np.asarray(variable) for variable in model.trainable_variables}
    model.optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables])
    for variable in model.trainable_variables:
        share = 1 - 0.5 * 0.1 if "kernel" in variable.name else 1.0
        np.testing.assert_allclose(variable, share * before[variable.path], rtol=1e-6)
    assert {v.name for v in model.trainable_variables} == {"kernel", "gamma", "beta", "bias"}


def test_label_smoothing_spreads_a_share_over_all_classes() -> None:
    values = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], np.float32)
    labels = np.array([0, 1])
    plain = -np.log(values[[0, 1], labels]).mean()
    spread = -np.log(values).mean()
    for share in (0.0, 0.1, 0.5):
        model = build_compiled_model(SMALL.replace(label_smoothing=share), 3)
        loss = model.compute_loss(y=keras.ops.array(labels), y_pred=keras.ops.array(values))
        assert float(loss) == pytest.approx((1 - share) * plain + share * spread, rel=1e-5)


def test_model_in_half_precision_predicts_float32() -> None:
    try:
        model = build_model(SMALL.replace(precision="mixed_bfloat16"), 2)
        assert backbone_of(model).output.dtype == "bfloat16"
        assert np.asarray(model(picture(32))).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


def refusal(weights: Path, **fields: Any) -> str:
    with pytest.raises(StudyError) as caught:
        build_model(SMALL.replace(weights=str(weights), **fields), 2)
    return str(caught.value)


def test_weights_of_another_width_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "narrow.weights.h5"
    options = {"alpha": 0.25, "weights": None, "include_top": False}
    keras.applications.MobileNet(input_shape=(32, 32, 3), **options).save_weights(path)
    assert build_model(SMALL.replace(weights=str(path)), 2)
    message = refusal(path, alpha=0.5)
    assert message.startswith(f"weights file {path} does not fit MobileNet: ")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["text.h5", "text.weights.h5", "text.txt"])
def test_file_that_is_no_weights_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("not weights\n")
    message = refusal(path)
    assert message.startswith(f"weights file {path} does not fit MobileNet: ")
    assert "\n" not in message


@pytest.mark.shared
@pytest.mark.parametrize(
    ("backbone", "file"),
    [
        ("mobilenet", "mobilenet_1_0_224_notop.weights.h5"),
        ("inception_v3", "inception_v3_notop.partial.weights.h5"),
    ],
)
def test_model_of_a_real_weights_file_has_its_weights(
    shared_dir: Path, backbone: str, file: str
) -> None:
    path, size = shared_dir / "weights" / file, 96
    config = TrialConfig(backbone=backbone, image_size=size, weights=str(path))
    options = {"weights": str(path), "include_top": False, "input_shape": (size, size, 3)}
    expected = APPLICATIONS[backbone](**options).get_weights()
    loaded = backbone_of(build_model(config, 2)).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(loaded, expected, strict=True))


@pytest.mark.shared
def test_real_weights_of_another_backbone_are_refused(shared_dir: Path) -> None:
    path = shared_dir / "weights" / "mobilenet_1_0_224_notop.weights.h5"
    assert "does not fit VGG16" in refusal(path, backbone="vgg16", alpha=1.0)
