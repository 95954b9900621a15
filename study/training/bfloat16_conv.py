"""Convolutions in bfloat16 on a CPU, with faster gradients than TensorFlow's.

oneDNN multiplies bfloat16 matrices four times as fast as float32 ones where the CPU has AMX. But
its gradient of a convolution's kernel is slower in bfloat16 than in float32, and so are all
gradients of a depthwise convolution (benchmarks/README.md). Here the kernel's gradient is a matrix
product, and depthwise convolutions are computed in float32. The sums are the same, in another
order.
"""

from typing import Any

from study.training.lean_keras import keras

MIN_CHANNELS = 16  # with fewer, as in the first layer, copying the patches takes longer


class BFloat16Conv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """Keras' layer, with the gradient of its kernel as a matrix product."""

    def call(self, inputs: Any) -> Any:
        """Convolve (n, height, width, channels)."""
        import tensorflow as tf  # present only with that backend

        if self.groups > 1 or self.use_bias or tuple(self.dilation_rate) != (1, 1):
            return super().call(inputs)
        strides = [1, *self.strides, 1]
        padding = self.padding.upper()

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolve(images: Any, kernel: Any) -> Any:
            def compute_gradients(upstream: Any) -> tuple[Any, Any]:
                images_gradient = tf.raw_ops.Conv2DBackpropInput(
                    input_sizes=tf.shape(images),
                    filter=kernel,
                    out_backprop=upstream,
                    strides=strides,
                    padding=padding,
                )
                kernel_gradient = _compute_kernel_gradient(
                    images, upstream, kernel.shape, strides, padding
                )
                return images_gradient, kernel_gradient

            return tf.nn.conv2d(images, kernel, strides, padding), compute_gradients

        return self.activation(convolve(inputs, tf.cast(self.kernel, inputs.dtype)))


class Float32DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Keras' layer, computed in float32 whatever the types of its input and output."""

    def call(self, inputs: Any) -> Any:
        """Convolve each channel of (n, height, width, channels)."""
        import tensorflow as tf

        if self.use_bias or tuple(self.dilation_rate) != (1, 1):
            return super().call(inputs)
        images = tf.cast(inputs, tf.float32)
        kernel = tf.cast(self.kernel, tf.float32)
        strides = [1, *self.strides, 1]
        outputs = tf.nn.depthwise_conv2d(images, kernel, strides, self.padding.upper())
        return self.activation(tf.cast(outputs, inputs.dtype))


def _compute_kernel_gradient(
    images: Any, upstream: Any, shape: Any, strides: list[int], padding: str
) -> Any:
    """Compute a kernel's gradient, tap by tap.

    A tap's gradient is the matrix of the pixels that it multiplies, transposed, times the upstream
    gradient.

    Args:
        images: (n, height, width, channels).
        upstream: the gradient of the convolution's output.
        shape: the kernel's (height, width, channels, filters).
        strides: four numbers, as TensorFlow takes them.
        padding: "SAME" or "VALID".
    """
    import tensorflow as tf

    height, width, channels, filters = shape
    if channels < MIN_CHANNELS:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=images,
            filter_sizes=shape,
            out_backprop=upstream,
            strides=strides,
            padding=padding,
        )
    upstream_rows = tf.reshape(upstream, (-1, filters))
    if padding == "SAME":
        if images.shape[1] == images.shape[2] == 1:  # every tap but the middle one sees padding
            image_rows = tf.reshape(images, (-1, channels))
            middle = tf.matmul(image_rows, upstream_rows, transpose_a=True)
            margins = [[(side - 1) // 2, side // 2] for side in (height, width)]
            return tf.pad(middle[None, None], [*margins, [0, 0], [0, 0]])
        images = _pad_images(images, upstream, (height, width), strides)
    taps = [
        tf.matmul(tf.reshape(patch, (-1, channels)), upstream_rows, transpose_a=True)
        for patch in _slice_patches(images, upstream, (height, width), strides)
    ]
    return tf.reshape(tf.stack(taps), shape)


def _pad_images(
    images: Any, upstream: Any, kernel_size: tuple[int, int], strides: list[int]
) -> Any:
    """Add the zeros around images that `same` padding implies."""
    import tensorflow as tf

    margins = [[0, 0]]
    for axis, side in zip((1, 2), kernel_size, strict=True):
        covered = (upstream.shape[axis] - 1) * strides[axis] + side
        missing = max(covered - images.shape[axis], 0)
        margins.append([missing // 2, missing - missing // 2])
    return tf.pad(images, [*margins, [0, 0]]) if any(map(any, margins)) else images


def _slice_patches(
    images: Any, upstream: Any, kernel_size: tuple[int, int], strides: list[int]
) -> list[Any]:
    """Return the pixels that each tap is multiplied with, row by row of the kernel.

    Each tap's slice has one pixel for each of `upstream`.
    """
    lengths = [(upstream.shape[axis] - 1) * strides[axis] + 1 for axis in (1, 2)]
    return [
        images[:, i : i + lengths[0] : strides[1], j : j + lengths[1] : strides[2]]
        for i in range(kernel_size[0])
        for j in range(kernel_size[1])
    ]
