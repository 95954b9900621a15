"""A Keras model from a config: raw uint8 pixels in, class probabilities out."""

from typing import Any

import keras
import numpy as np

from study.config import TrialConfig
from study.training import backbone
from study.training.fused_adam import FusedAdam

# ImageNet's mean, which the caffe-trained backbones subtract (keras.applications.imagenet_utils)
CAFFE_BGR_MEAN = (103.939, 116.779, 123.68)


def build(config: TrialConfig, num_classes: int, *, fused: bool = True) -> keras.Model:
    """The uncompiled model of a config, fresh from `config.seed`.

    Input: uint8 (n, size, size, 3), RGB. Output: float32 (n, num_classes), rows sum to 1.
    The hidden dense layers are named `hidden_1`, `hidden_2`, and so on. With `fused=False` it has
    Keras' own layers only and no augmentation, so that it loads and predicts anywhere; the weights
    fit both.

    Raises:
        StudyError: the weights cannot be had, or do not fit the backbone.
    """
    _begin(config)
    layer = backbone.fresh(config, fused=fused)
    return _around(layer, config, num_classes, augmented=fused)


def _begin(config: TrialConfig) -> None:
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)


def _around(
    layer: keras.layers.Layer, config: TrialConfig, num_classes: int, *, augmented: bool
) -> keras.Model:
    """The whole model: what comes before its backbone, and the head."""
    shape = (config.image_size, config.image_size, 3)
    images = keras.Input(shape, dtype="uint8", name="images")
    # not in a model for others: these layers take `model(images)` for training
    seen = _augmented(images, config) if augmented else images
    outputs = _head(layer(_scaled(seen, config)), config, num_classes)
    return keras.Model(images, outputs, name=config.backbone)


def compiled(config: TrialConfig, num_classes: int) -> keras.Model:
    """The model of a config, ready to train: Adam, cross-entropy, and the accuracy beside it.

    It shares its backbone with the last one that was made so in this process, which is lost.

    Raises:
        StudyError: the weights cannot be had, or do not fit the backbone.
    """
    _begin(config)
    layer = backbone.shared(config)
    model = _around(layer, config, num_classes, augmented=True)
    adam = FusedAdam if keras.backend.backend() == "tensorflow" else keras.optimizers.Adam
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
