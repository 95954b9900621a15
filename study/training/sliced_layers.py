"""Depthwise convolution and max pooling on shifted slices, for JAX on a GPU.

The convolution is a sum of slices, the pooling a maximum. XLA makes elementwise kernels of them,
forward and backward, which are deterministic to the last bit. Its own gradient of max pooling is a
scatter, which its deterministic mode may do one number after the other.
"""

from collections.abc import Iterator
from typing import Any

from study.training.lean_keras import keras


class SlicedDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Keras' layer as a sum over the kernel's taps.

    It is computed in float32 whatever the types of its input and output.
    """

    def call(self, inputs: Any) -> Any:
        """Convolve each channel of (n, height, width, channels)."""
        if self.use_bias or self.depth_multiplier != 1 or tuple(self.dilation_rate) != (1, 1):
            return super().call(inputs)
        images = _pad_images(inputs, self.kernel_size, self.strides, self.padding, 0.0)
        kernel = keras.ops.cast(self.kernel, "float32")
        total = 0.0
        for (i, j), patch in _slice_patches(images, self.kernel_size, self.strides):
            total = total + keras.ops.cast(patch, "float32") * kernel[i, j, :, 0]
        return self.activation(keras.ops.cast(total, inputs.dtype))


class SlicedMaxPooling2D(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Keras' layer as a maximum of slices. Equal maxima share the gradient."""

    def call(self, inputs: Any) -> Any:
        """Pool (n, height, width, channels)."""
        images = _pad_images(inputs, self.pool_size, self.strides, self.padding, float("-inf"))
        patches = [patch for _, patch in _slice_patches(images, self.pool_size, self.strides)]
        largest = patches[0]
        for patch in patches[1:]:
            largest = keras.ops.maximum(largest, patch)
        return largest


def _pad_images(
    images: Any, size: tuple[int, int], strides: tuple[int, int], padding: str, value: float
) -> Any:
    """Add what TensorFlow's `same` padding puts around images, if that is the padding."""
    if padding != "same":
        return images
    margins = [(0, 0)]
    for length, side, stride in zip(images.shape[1:3], size, strides, strict=True):
        missing = max((-(-length // stride) - 1) * stride + side - length, 0)
        margins.append((missing // 2, missing - missing // 2))
    return keras.ops.pad(images, [*margins, (0, 0)], constant_values=value)


def _slice_patches(
    images: Any, size: tuple[int, int], strides: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], Any]]:
    """Yield each place in a window, row by row, with its pixels in all windows."""
    lengths = [
        (length - side) // stride * stride + 1
        for length, side, stride in zip(images.shape[1:3], size, strides, strict=True)
    ]
    for i in range(size[0]):
        for j in range(size[1]):
            patch = images[:, i : i + lengths[0] : strides[0], j : j + lengths[1] : strides[1]]
            yield (i, j), patch
