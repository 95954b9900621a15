"""Build a Keras model from a config: raw uint8 pixels in, class probabilities out."""

from typing import Any

import numpy as np

from study.config.trial_config import TrialConfig
from study.training import backbone
from study.training import runtime
from study.training.fused_adam import FusedAdam
from study.training.lean_keras import keras

# ImageNet's mean, which the caffe-trained backbones subtract (keras.applications.imagenet_utils)
CAFFE_BGR_MEAN = (103.939, 116.779, 123.68)


def build_model(config: TrialConfig, num_classes: int, *, fused: bool = True) -> keras.Model:
    """Build the uncompiled model of a config, with random weights from `config.seed`.

    Input: uint8 (n, size, size, 3), RGB. Output: float32 (n, num_classes), rows sum to 1.
    The hidden dense layers are named `hidden_1`, `hidden_2`, and so on. With `fused=False` the
    model has Keras' own layers only and no augmentation, so that it loads and predicts anywhere.
    The weights fit both.

    Raises:
        StudyError: the weights cannot be had, or do not fit the backbone.
    """
    _reset_keras(config)
    layer = backbone.build_backbone(config, fused=fused)
    return _assemble(layer, config, num_classes, has_augmentation=fused)


def _reset_keras(config: TrialConfig) -> None:
    """Clear Keras' session, and set the seed and precision of a config."""
    keras.utils.clear_session()
    runtime.reset_keras_settings()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)


def _assemble(
    layer: keras.layers.Layer, config: TrialConfig, num_classes: int, *, has_augmentation: bool
) -> keras.Model:
    """Build the model around a backbone: input, augmentation, scaling and head."""
    shape = (config.image_size, config.image_size, 3)
    images = keras.Input(shape, dtype="uint8", name="images")
    # A portable model has no augmentation: its layers take a plain `model(images)` for training.
    pixels = _augment(images, config) if has_augmentation else images
    outputs = _add_head(layer(_scale_pixels(pixels, config)), config, num_classes)
    return keras.Model(images, outputs, name=config.backbone)


def build_compiled_model(config: TrialConfig, num_classes: int) -> keras.Model:
    """Build the model of a config with its Adam, cross-entropy and accuracy.

    It shares its backbone with the last model made here in this process, which must no longer be
    used.

    Raises:
        StudyError: the weights cannot be had, or do not fit the backbone.
    """
    _reset_keras(config)
    layer = backbone.reuse_backbone(config)
    model = _assemble(layer, config, num_classes, has_augmentation=True)
    adam = FusedAdam if keras.backend.backend() == "tensorflow" else keras.optimizers.Adam
    optimizer = adam(config.lr, weight_decay=config.weight_decay or None)
    # Biases, and batch normalization's gamma and beta
    vectors = [variable for variable in model.trainable_variables if len(variable.shape) < 2]
    optimizer.exclude_from_weight_decay(vectors)
    model.compile(optimizer=optimizer, loss=_make_loss(config), metrics=["accuracy"])
    # The model's optimizer, not `optimizer`: float16 wraps it in another.
    model.optimizer.build(model.trainable_variables)
    _make_metric_variables(model, num_classes)
    return model


def _make_metric_variables(model: keras.Model, num_classes: int) -> None:
    """Make the variables of a model's metrics before its first trace.

    Keras would make them within that trace, and so trace the whole model twice.
    """
    labels = np.zeros(1, np.int64)
    probabilities = np.full((1, num_classes), 1 / num_classes, np.float32)
    model.compute_loss(y=keras.ops.array(labels), y_pred=keras.ops.array(probabilities))
    model.compute_metrics(None, keras.ops.array(labels), keras.ops.array(probabilities))
    model.reset_metrics()


def _make_loss(config: TrialConfig) -> Any:
    """Return the cross-entropy, smoothed as the config says."""
    if not config.label_smoothing:
        return "sparse_categorical_crossentropy"

    # Keras smooths only one-hot labels.
    def smoothed_crossentropy(labels: Any, probabilities: Any) -> Any:
        class_indices = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
        one_hot_labels = keras.ops.one_hot(class_indices, probabilities.shape[-1])
        return keras.losses.categorical_crossentropy(
            one_hot_labels, probabilities, label_smoothing=config.label_smoothing
        )

    return smoothed_crossentropy


def _augment(images: Any, config: TrialConfig) -> Any:
    """Change images at random in training, and leave them as they are in prediction.

    At strength 1 each is flipped left to right or not, turned by up to 36 degrees, zoomed by up to
    20 % and shifted by up to 10 % of its sides, and its contrast is changed by up to 50 %. Pixels
    from outside the image are its reflection. The strength scales all but the flip. At 0 nothing is
    changed.
    """
    if not config.augment:
        return images
    strength = config.augment
    seed = config.seed + 10  # 1 to 8 are the dropout layers'
    layers = keras.layers
    # In float32, because 16 bits are too few for a position in the image
    for layer in (
        layers.RandomFlip("horizontal", seed=seed, dtype="float32"),
        layers.RandomRotation(0.1 * strength, seed=seed + 1, dtype="float32"),
        layers.RandomZoom(0.2 * strength, seed=seed + 2, dtype="float32"),
        layers.RandomTranslation(0.1 * strength, 0.1 * strength, seed=seed + 3, dtype="float32"),
        layers.RandomContrast(0.5 * strength, seed=seed + 4, dtype="float32"),
    ):
        images = layer(images)
    return images


def _scale_pixels(images: Any, config: TrialConfig) -> Any:
    """Scale pixels by 1/255, or as the backbone's published weights need them."""
    if config.scaling == "1/255":
        return keras.layers.Rescaling(1 / 255)(images)
    if config.backbone in ("resnet50", "vgg16"):
        offset = [-mean for mean in CAFFE_BGR_MEAN]
        return keras.layers.Rescaling(1.0, offset)(keras.ops.flip(images, axis=-1))
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(images)


def _add_head(features: Any, config: TrialConfig, num_classes: int) -> Any:
    """Add pooling, hidden layers and the softmax to a backbone's output."""
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
