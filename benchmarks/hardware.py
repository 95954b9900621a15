"""Compare a training step with the speed of the processor.

    python -m benchmarks.hardware
    python -m benchmarks.hardware --dataset blood --image-size 128

Alternately measures products of large matrices in TensorFlow, which show the processor's speed, and
training steps of the study's own model on images in memory. The floating-point operations (FLOP) of
a step are counted from the model's layers. Each multiplication in a convolution or dense layer
counts as two, and is done three times: forward, for the gradient of the inputs, and for that of the
kernel.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from dotenv import load_dotenv

from benchmarks.settings import make_config
from benchmarks.settings import make_parser
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.config.trial_config import TrialConfig

with quiet_stderr():
    import keras
    import tensorflow as tf

    from study.training import backbone
    from study.training import runtime
    from study.training.model import build_compiled_model

SIDE = 2048  # rows and columns of each matrix
PRODUCTS = 10  # in one measurement
STEPS = 4  # in one measurement
DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16"}


def measure_median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of some calls, after a first call that does not count."""
    laps = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        laps.append(time.perf_counter() - start)
    return statistics.median(laps[1:])


def measure_product_rate(dtype: str) -> float:
    """Measure the FLOP/s of matrix products."""
    left = tf.cast(tf.random.normal((SIDE, SIDE)), dtype)
    right = tf.cast(tf.random.normal((SIDE, SIDE)), dtype)
    product = tf.function(tf.matmul)

    def multiply_matrices() -> None:
        for _ in range(PRODUCTS):
            product(left, right).numpy()

    return 2 * SIDE**3 * PRODUCTS / measure_median_seconds(multiply_matrices, 5)


def count_flop(layer: keras.Layer) -> float:
    """Count the FLOP of a layer and its sublayers in the forward pass of one image."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return 2.0 * float(math.prod(layer.kernel.shape[:2]) * math.prod(layer.output.shape[1:]))
    if isinstance(layer, keras.layers.Conv2D):
        return 2.0 * float(math.prod(layer.kernel.shape[:3]) * math.prod(layer.output.shape[1:]))
    if isinstance(layer, keras.layers.Dense):
        return 2.0 * float(math.prod(layer.kernel.shape))
    if not isinstance(layer, keras.Model):
        layer = getattr(layer, "backbone", None)  # of the layer that trials share
    return sum(count_flop(each) for each in layer.layers) if layer is not None else 0.0


def make_steps(config: TrialConfig) -> tuple[Callable[[], object], float]:
    """Return a function that runs `STEPS` training steps, and the FLOP of one step."""
    backbone.clear_kept_backbone()
    model = build_compiled_model(config, 2)
    shape = (config.batch_size, config.image_size, config.image_size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    labels = tf.constant(np.arange(config.batch_size) % 2)
    step = tf.function(lambda: model.train_step((images, labels)), autograph=False)

    def run_steps() -> None:
        for _ in range(STEPS):
            step()

    return run_steps, 3 * config.batch_size * count_flop(model)


def print_table(args: argparse.Namespace) -> None:
    """Measure and print a row for each precision."""
    runtime.prepare_backend()
    base = make_config(args)
    print(f"{base.backbone}, {base.image_size} px, batch {base.batch_size}\n")
    print("| precision | images/s | ratio | GFLOP/s | products, GFLOP/s | of them |")
    print("| --- | --- | --- | --- | --- | --- |")
    first_speed = 0.0  # images per second
    for precision, dtype in DTYPES.items():
        run_steps, flop = make_steps(base.replace(precision=precision))
        rate_before = measure_product_rate(dtype)
        seconds = measure_median_seconds(run_steps, 5)
        product_rate = (rate_before + measure_product_rate(dtype)) / 2
        speed = STEPS * base.batch_size / seconds
        rate = STEPS * flop / seconds
        first_speed = first_speed or speed
        print(
            f"| {precision} | {speed:.1f} | {speed / first_speed:.2f} | {rate / 1e9:.0f} | "
            f"{product_rate / 1e9:.0f} | {rate / product_rate:.2f} |",
            flush=True,
        )


def main() -> None:
    """Run the command."""
    print_table(make_parser(__doc__).parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
