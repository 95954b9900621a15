"""Depthwise convolution and max pooling as sums and maxima of shifted slices, for JAX on a GPU.

XLA makes elementwise kernels of them, forward and backward, that repeat themselves to the last bit.
Its own gradient of max pooling is a scatter, which its deterministic mode may do one number after
the other.
"""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops


class SlicedDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Keras' layer, as a sum over the kernel's taps, in float32 whatever it takes and gives."""

    def call(self, inputs: Any) -> Any:
        """Convolve each channel of (n, height, width, channels)."""
        if self.use_bias or self.depth_multiplier != 1 or tuple(self.dilation_rate) != (1, 1):
            return super().call(inputs)
        images = _padded(inputs, self.kernel_size, self.strides, self.padding, 0.0)
        kernel = ops.cast(self.kernel, "float32")
        total = 0.0
        for (i, j), patch in _patches(images, self.kernel_size, self.strides):
            total = total + ops.cast(patch, "float32") * kernel[i, j, :, 0]
        return self.activation(ops.cast(total, inputs.dtype))


class SlicedMaxPooling2D(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Keras' layer, as the maximum of slices; where several are equal they share the gradient."""

    def call(self, inputs: Any) -> Any:
        """Pool (n, height, width, channels)."""
        images = _padded(inputs, self.pool_size, self.strides, self.padding, float("-inf"))
        patches = [patch for _, patch in _patches(images, self.pool_size, self.strides)]
        largest = patches[0]
        for patch in patches[1:]:
            largest = ops.maximum(largest, patch)
        return largest


def _padded(
    images: Any, size: tuple[int, int], strides: tuple[int, int], padding: str, value: float
) -> Any:
    """Images with what TensorFlow's `same` padding adds around them."""
    if padding != "same":
        return images
    around = [(0, 0)]
    for length, side, stride in zip(images.shape[1:3], size, strides, strict=True):
        missing = max((-(-length // stride) - 1) * stride + side - length, 0)
        around.append((missing // 2, missing - missing // 2))
    return ops.pad(images, [*around, (0, 0)], constant_values=value)


def _patches(
    images: Any, size: tuple[int, int], strides: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], Any]]:
    """For each place in a window, row by row, what all windows have there."""
    ends = [
        (length - side) // stride * stride + 1
        for length, side, stride in zip(images.shape[1:3], size, strides, strict=True)
    ]
    for i in range(size[0]):
        for j in range(size[1]):
            yield (
                (i, j),
                images[:, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]],
            )
