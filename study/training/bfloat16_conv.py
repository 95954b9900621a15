"""Convolutions in bfloat16 on a CPU, with the two gradients that TensorFlow computes slowly.

oneDNN multiplies bfloat16 matrices four times as fast as float32 ones where the CPU has AMX, but
its gradient of a convolution's kernel is slower in bfloat16 than in float32, and so are all
gradients of a depthwise convolution (benchmarks/README.md). Here the first is a matrix product, and
the depthwise ones are computed in float32. Same sums, in another order.
"""

from typing import Any

import keras

LEAST_CHANNELS = 16  # with fewer, as in the first layer, copying the patches takes longer


class BFloat16Conv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """Keras' layer, with the gradient of its kernel as a matrix product."""

    def call(self, inputs: Any) -> Any:
        """Convolve (n, height, width, channels)."""
        import tensorflow as tf  # present only with that backend

        if self.groups > 1 or self.use_bias or tuple(self.dilation_rate) != (1, 1):
            return super().call(inputs)
        steps, padding = [1, *self.strides, 1], self.padding.upper()

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolved(images: Any, kernel: Any) -> Any:
            def gradients(upstream: Any) -> tuple[Any, Any]:
                of_images = tf.raw_ops.Conv2DBackpropInput(
                    input_sizes=tf.shape(images), filter=kernel, out_backprop=upstream,
                    strides=steps, padding=padding,
                )  # fmt: skip
                return of_images, _kernel_gradient(images, upstream, kernel.shape, steps, padding)

            return tf.nn.conv2d(images, kernel, steps, padding), gradients

        return self.activation(convolved(inputs, tf.cast(self.kernel, inputs.dtype)))


class Float32DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Keras' layer, computed in float32 whatever it takes and gives."""

    def call(self, inputs: Any) -> Any:
        """Convolve each channel of (n, height, width, channels)."""
        import tensorflow as tf

        if self.use_bias or tuple(self.dilation_rate) != (1, 1):
            return super().call(inputs)
        images, kernel = tf.cast(inputs, tf.float32), tf.cast(self.kernel, tf.float32)
        steps = [1, *self.strides, 1]
        outputs = tf.nn.depthwise_conv2d(images, kernel, steps, self.padding.upper())
        return self.activation(tf.cast(outputs, inputs.dtype))


def _kernel_gradient(images: Any, upstream: Any, shape: Any, steps: list[int], padding: str) -> Any:
    """Each tap of the kernel: the images it met, transposed, times what came back there."""
    import tensorflow as tf

    height, width, channels, filters = shape
    if channels < LEAST_CHANNELS:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=images, filter_sizes=shape, out_backprop=upstream, strides=steps, padding=padding
        )
    rows = tf.reshape(upstream, (-1, filters))
    if padding == "SAME":
        if images.shape[1] == images.shape[2] == 1:  # all taps but the middle one met padding
            middle = tf.matmul(tf.reshape(images, (-1, channels)), rows, transpose_a=True)
            around = [[(side - 1) // 2, side // 2] for side in (height, width)]
            return tf.pad(middle[None, None], [*around, [0, 0], [0, 0]])
        images = _padded(images, upstream, (height, width), steps)
    taps = [
        tf.matmul(tf.reshape(met, (-1, channels)), rows, transpose_a=True)
        for met in _met(images, upstream, (height, width), steps)
    ]
    return tf.reshape(tf.stack(taps), shape)


def _padded(images: Any, upstream: Any, sides: tuple[int, int], steps: list[int]) -> Any:
    import tensorflow as tf

    around = [[0, 0]]
    for axis, side in zip((1, 2), sides, strict=True):
        lack = max((upstream.shape[axis] - 1) * steps[axis] + side - images.shape[axis], 0)
        around.append([lack // 2, lack - lack // 2])
    return tf.pad(images, [*around, [0, 0]]) if any(map(any, around)) else images


def _met(images: Any, upstream: Any, sides: tuple[int, int], steps: list[int]) -> list[Any]:
    """For each tap, row by row, the pixels it is multiplied with, one for each of `upstream`."""
    ends = [(upstream.shape[axis] - 1) * steps[axis] + 1 for axis in (1, 2)]
    return [
        images[:, i : i + ends[0] : steps[1], j : j + ends[1] : steps[2]]
        for i in range(sides[0])
        for j in range(sides[1])
    ]
