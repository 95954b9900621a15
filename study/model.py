"""A Keras model from a config: raw uint8 pixels in, class probabilities out."""

import warnings
from typing import Any

import keras
import numpy as np

from study.config import BACKBONES
from study.config import StudyError
from study.config import TrialConfig
from study.fast_adam import FusedAdam
from study.fast_conv import BFloat16Conv2D
from study.fast_conv import Float32DepthwiseConv2D
from study.fast_conv import tensorflow_on_cpu
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
IN_BFLOAT16_ON_CPU = {
    keras.layers.Conv2D: BFloat16Conv2D,
    keras.layers.DepthwiseConv2D: Float32DepthwiseConv2D,
}


def build(config: TrialConfig, num_classes: int, *, fused: bool = True) -> keras.Model:
    """The uncompiled model of a config, fresh from `config.seed`.

    Input: uint8 (n, size, size, 3), RGB. Output: float32 (n, num_classes), rows sum to 1.
    The hidden dense layers are named `hidden_1`, `hidden_2`, and so on. With `fused=False` it has
    Keras' own layers only and no augmentation, so that it loads and predicts anywhere; the weights
    fit both.

    Raises:
        StudyError: the weights cannot be had, or do not fit the backbone.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    shape = (config.image_size, config.image_size, 3)
    images = keras.Input(shape, dtype="uint8", name="images")
    others = IN_BFLOAT16_ON_CPU if fused and _bfloat16_on_cpu(config) else None
    plain = _backbone(config, shape)
    backbone = with_norm(plain, config.bn_momentum, fused=fused, others=others)
    _freeze(backbone, config.trainable)
    # not in a model for others: these layers take `model(images)` for training
    seen = _augmented(images, config) if fused else images
    features = backbone(_scaled(seen, config))
    outputs = _head(features, config, num_classes)
    return keras.Model(images, outputs, name=config.backbone)


def compiled(config: TrialConfig, num_classes: int) -> keras.Model:
    """The model of a config, ready to train: Adam, cross-entropy, and the accuracy beside it.

    Raises:
        StudyError: the weights cannot be had, or do not fit the backbone.
    """
    model = build(config, num_classes)
    adam = FusedAdam if _bfloat16_on_cpu(config) else keras.optimizers.Adam
    optimizer = adam(config.lr, weight_decay=config.weight_decay or None)
    # biases, and batch normalization's gamma and beta
    vectors = [each for each in model.trainable_variables if len(each.shape) < 2]
    optimizer.exclude_from_weight_decay(vectors)
    model.compile(optimizer=optimizer, loss=_loss(config), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)  # which float16 wraps in another
    # Keras would make the metrics' variables within the first trace, and so trace all of it twice
    label, guess = np.zeros(1, np.int64), np.full((1, num_classes), 1 / num_classes, np.float32)
    model.compute_loss(y=keras.ops.array(label), y_pred=keras.ops.array(guess))
    model.compute_metrics(None, keras.ops.array(label), keras.ops.array(guess))
    model.reset_metrics()
    return model


def _bfloat16_on_cpu(config: TrialConfig) -> bool:
    return config.precision == "mixed_bfloat16" and tensorflow_on_cpu()


def _loss(config: TrialConfig) -> Any:
    if not config.label_smoothing:
        return "sparse_categorical_crossentropy"

    def smoothed(labels: Any, probabilities: Any) -> Any:  # Keras smooths only one-hot labels
        numbers = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
        wanted = keras.ops.one_hot(numbers, probabilities.shape[-1])
        return keras.losses.categorical_crossentropy(
            wanted, probabilities, label_smoothing=config.label_smoothing
        )

    return smoothed


def _freeze(backbone: keras.Model, trainable: float) -> None:
    """Leave that share of the layers with weights trainable, counted from the output."""
    layers = [layer for layer in backbone.layers if layer.weights]
    for layer in layers[: len(layers) - round(trainable * len(layers))]:
        layer.trainable = False  # batch normalization then keeps and uses its moving averages


def _augmented(images: Any, config: TrialConfig) -> Any:
    """Images changed at random in training, and as they are in prediction.

    At strength 1 each is flipped left to right or not, turned by up to 36 degrees, zoomed by up to
    20 % and shifted by up to 10 % of its sides, and its contrast changed by up to 50 %; what comes
    in from outside is reflected. The strength scales all but the flip; at 0 nothing is changed.
    """
    if not config.augment:
        return images
    strength, seed = config.augment, config.seed + 10  # 1 to 8 are the dropout layers'
    layers = keras.layers
    for change in (  # float32, for 16 bits are too few for a place in the image
        layers.RandomFlip("horizontal", seed=seed, dtype="float32"),
        layers.RandomRotation(0.1 * strength, seed=seed + 1, dtype="float32"),
        layers.RandomZoom(0.2 * strength, seed=seed + 2, dtype="float32"),
        layers.RandomTranslation(0.1 * strength, 0.1 * strength, seed=seed + 3, dtype="float32"),
        layers.RandomContrast(0.5 * strength, seed=seed + 4, dtype="float32"),
    ):
        images = change(images)
    return images


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
