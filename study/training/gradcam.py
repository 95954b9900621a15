"""Where in an image a trained model saw a class: Grad-CAM (Selvaraju et al., ICCV 2017).

With A (h, w, c) what the backbone makes of an image, and y the class' score before the softmax:

    map = relu(sum over channels k of a_k A_k),  a_k = mean over positions of dy/dA_k

What `study/training/model.py` puts on a backbone is linear but for its relus, so dy/dA is a product
of the dense layers' kernels, without the units that are off. That takes no automatic
differentiation, and hence none of one Keras backend. By that mean over positions, a head that
flattens (and so weighs each position on its own) is shown more coarsely than one of global average
pooling.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.common.command import quiet_stderr
from study.common.errors import StudyError

with quiet_stderr():  # to which its libraries write while they load
    import keras

AT_ONCE = 4  # images, so that the largest backbone at the largest size fits into memory
Array = NDArray[np.float32]


def heat_maps_of(file: Path, images: NDArray[np.uint8], classes: Sequence[int]) -> Array:
    """`heat_maps` of the model in a `.keras` file.

    Raises:
        StudyError: the file does not load.
    """
    try:
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise StudyError(f"the run's model does not load here: {first}") from error
    return heat_maps(model, images, classes)


def heat_maps(model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int]) -> Array:
    """What speaks for a class in each image, cell by cell of the backbone's output.

    Args:
        model: made by `study.training.model.build`, of any backbone and head.
        images: uint8 (n, size, size, 3), RGB.
        classes: for each image, the index of the class to explain.

    Returns:
        float32 (n, h, w), from 0 to 1, the most in an image: 1 (InceptionV3 at 224 pixels: 5 x 5).
        All 0 if nothing in the image raises the class' score, as with hidden units that are off.
    """
    features, *hidden = _seen(model, images)
    weights = _channel_weights(model, features.shape[1:], hidden, classes)
    maps: Array = np.maximum(np.einsum("nhwc,nc->nhw", features, weights), 0)
    most: Array = maps.max(axis=(1, 2), keepdims=True)
    most[most == 0] = 1
    return maps / most


def _seen(model: keras.Model, images: NDArray[np.uint8]) -> list[Array]:
    """The backbone's output (n, h, w, c), and what each hidden layer makes of it (n, units)."""
    hidden = [layer.output for layer in _dense(model)[:-1]]
    seen = keras.Model(model.input, [_joint(model).input, *hidden])
    outputs = seen.predict(images, batch_size=AT_ONCE, verbose=0)
    several = outputs if isinstance(outputs, list) else [outputs]
    return [np.asarray(output, np.float32) for output in several]


def _joint(model: keras.Model) -> Any:
    """The layer that joins backbone and dense layers."""
    kinds = (keras.layers.Flatten, keras.layers.GlobalAveragePooling2D)
    return next(layer for layer in model.layers if isinstance(layer, kinds))


def _dense(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def _channel_weights(
    model: keras.Model, shape: tuple[int, ...], hidden: Sequence[Array], classes: Sequence[int]
) -> Array:
    """a_k (n, c), by the chain rule from the last layer to a backbone's output of (h, w, c)."""
    *kernels, last = (
        np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32) for layer in _dense(model)
    )
    gradients: Array = last[:, list(classes)].T
    for kernel, output in zip(reversed(kernels), reversed(hidden), strict=True):
        gradients = (gradients * (output > 0)) @ kernel.T
    h, w, channels = shape
    if isinstance(_joint(model), keras.layers.Flatten):
        gradients = gradients.reshape(-1, h * w, channels).sum(axis=1)
    return gradients / np.float32(h * w)
