"""A Keras model from a config: raw uint8 pixels in, class probabilities out."""

import warnings
from typing import Any

import keras

from study.config import BACKBONES
from study.config import StudyError
from study.config import TrialConfig
from study.fast_norm import with_norm

APPLICATIONS = {
    "mobilenet": keras.applications.MobileNet,
    "inception_v3": keras.applications.InceptionV3,
    "xception": keras.applications.Xception,
    "resnet50": keras.applications.ResNet50,
    "vgg16": keras.applications.VGG16,
}
# ImageNet's mean, which the caffe-trained backbones subtract (keras.applications.imagenet_utils)
CAFFE_BGR_MEAN = (103.939, 116.779, 123.68)


def build(config: TrialConfig, num_classes: int, *, fused: bool = True) -> keras.Model:
    """The uncompiled model of a config, all layers trainable, fresh from `config.seed`.

    Input: uint8 (n, size, size, 3), RGB. Output: float32 (n, num_classes), rows sum to 1.
    The hidden dense layers are named `hidden_1`, `hidden_2`, and so on. With `fused=False` it has
    Keras' own layers only, so that it loads anywhere; the weights fit both.

    Raises:
        StudyError: the weights cannot be had, or do not fit the backbone.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    shape = (config.image_size, config.image_size, 3)
    images = keras.Input(shape, dtype="uint8", name="images")
    backbone = with_norm(_backbone(config, shape), config.bn_momentum, fused=fused)
    features = backbone(_scaled(images, config))
    outputs = _head(features, config, num_classes)
    return keras.Model(images, outputs, name=config.backbone)


def _scaled(images: Any, config: TrialConfig) -> Any:
    if config.scaling == "1/255":
        return keras.layers.Rescaling(1 / 255)(images)
    if config.backbone in ("resnet50", "vgg16"):
        offset = [-mean for mean in CAFFE_BGR_MEAN]
        return keras.layers.Rescaling(1.0, offset)(keras.ops.flip(images, axis=-1))
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(images)


def _backbone(config: TrialConfig, shape: tuple[int, int, int]) -> keras.Model:
    options: dict[str, Any] = {"include_top": False, "input_shape": shape}
    if config.backbone == "mobilenet":
        options["alpha"] = config.alpha
    weights = None if config.weights == "none" else config.weights
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MobileNet warns of sizes other than 128 to 224
            return APPLICATIONS[config.backbone](weights=weights, **options)
    except Exception as error:
        raise StudyError(_weights_problem(config, error)) from error


def _weights_problem(config: TrialConfig, error: Exception) -> str:
    title = BACKBONES[config.backbone].title
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if config.weights == "imagenet":
        return (
            f"cannot fetch Keras' ImageNet weights of {title}: {reason}\n"
            "Connect to the network once, give a weights file (--weights FILE), or train from "
            "scratch (--weights none)."
        )
    return f"weights file {config.weights} does not fit {title}: {reason}"


def _head(features: Any, config: TrialConfig, num_classes: int) -> Any:
    if config.head == "flatten":
        hidden = keras.layers.Flatten()(features)
    else:
        hidden = keras.layers.GlobalAveragePooling2D()(features)
    for number in range(1, config.hidden_layers + 1):
        hidden = keras.layers.Dense(config.dense_units, activation="relu", name=f"hidden_{number}")(
            hidden
        )
        hidden = keras.layers.Dropout(config.dropout, seed=config.seed + number)(hidden)
    # float32 whatever the precision: softmax and cross-entropy lose too much in 16 bits
    return keras.layers.Dense(
        num_classes, activation="softmax", dtype="float32", name="probabilities"
    )(hidden)
