"""Compute heat maps of where a trained model sees a class.

The method is Grad-CAM (Selvaraju et al., ICCV 2017). With A (h, w, c) the backbone's output for an
image, and y the class' score before the softmax:

    map = relu(sum over channels k of a_k A_k),  a_k = mean over positions of dy/dA_k

The head that `study/training/model.py` puts on a backbone is linear but for its relus, so dy/dA is
a product of the dense layers' kernels, without the units that are off. That needs no automatic
differentiation, and hence no particular Keras backend. A head that flattens weighs each position on
its own. The mean over positions loses that, so the maps of such a head are coarser than those of
one with global average pooling.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.common.command import quiet_stderr
from study.common.errors import first_line
from study.common.errors import StudyError

with quiet_stderr():  # Keras' libraries write to stderr while they load
    from study.training import runtime
    from study.training.lean_keras import keras

BATCH_SIZE = 4  # images, so that the largest backbone at the largest size fits into memory
Array = NDArray[np.float32]


def compute_heat_maps_of_file(
    file: Path, images: NDArray[np.uint8], classes: Sequence[int]
) -> Array:
    """Compute the `compute_heat_maps` of the model in a `.keras` file.

    Raises:
        StudyError: the file does not load.
    """
    runtime.reset_keras_settings()
    try:
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        reason = first_line(error)
        raise StudyError(f"cannot load the run's model on this machine: {reason}") from error
    return compute_heat_maps(model, images, classes)


def compute_heat_maps(
    model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int]
) -> Array:
    """Compute a heat map of the evidence for a class in each image.

    Each cell of the backbone's output gets a value.

    Args:
        model: made by `study.training.model.build_model`, of any backbone and head.
        images: uint8 (n, size, size, 3), RGB.
        classes: for each image, the index of the class to explain.

    Returns:
        float32 (n, h, w), from 0 to 1, where each image's maximum is 1 (InceptionV3 at 224 pixels:
        5 x 5). All 0 if nothing in the image raises the class' score, for example because hidden
        units are off.
    """
    features, *hidden = _compute_activations(model, images)
    weights = _compute_channel_weights(model, features.shape[1:], hidden, classes)
    maps: Array = np.maximum(np.einsum("nhwc,nc->nhw", features, weights), 0)
    maxima: Array = maps.max(axis=(1, 2), keepdims=True)
    maxima[maxima == 0] = 1
    return maps / maxima


def _compute_activations(model: keras.Model, images: NDArray[np.uint8]) -> list[Array]:
    """Return the backbone's output, then each hidden layer's.

    The backbone's is (n, h, w, c), a hidden layer's (n, units).
    """
    hidden = [layer.output for layer in _list_dense_layers(model)[:-1]]
    probe = keras.Model(model.input, [_find_pooling_layer(model).input, *hidden])
    outputs = probe.predict(images, batch_size=BATCH_SIZE, verbose=0)
    # Keras returns a model's only output bare.
    output_list = outputs if isinstance(outputs, list) else [outputs]
    return [np.asarray(output, np.float32) for output in output_list]


def _find_pooling_layer(model: keras.Model) -> Any:
    """Return the layer between backbone and dense layers, which pools or flattens."""
    kinds = (keras.layers.Flatten, keras.layers.GlobalAveragePooling2D)
    return next(layer for layer in model.layers if isinstance(layer, kinds))


def _list_dense_layers(model: keras.Model) -> list[Any]:
    """Return the dense layers, from the first hidden one to the output."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def _compute_channel_weights(
    model: keras.Model, shape: tuple[int, ...], hidden: Sequence[Array], classes: Sequence[int]
) -> Array:
    """Compute a_k (n, c) by the chain rule, from the last layer back to A.

    Args:
        model: as in `compute_heat_maps`.
        shape: (h, w, c) of the backbone's output.
        hidden: each hidden layer's output, (n, units).
        classes: as in `compute_heat_maps`.
    """
    *hidden_kernels, last_kernel = (
        np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32)
        for layer in _list_dense_layers(model)
    )
    gradients: Array = last_kernel[:, list(classes)].T
    for kernel, output in zip(reversed(hidden_kernels), reversed(hidden), strict=True):
        gradients = (gradients * (output > 0)) @ kernel.T
    h, w, channels = shape
    if isinstance(_find_pooling_layer(model), keras.layers.Flatten):
        gradients = gradients.reshape(-1, h * w, channels).sum(axis=1)
    return gradients / np.float32(h * w)
