"""Compare a training step with the processor's own speed, in float32 and bfloat16.

    python -m benchmarks.hardware
    python -m benchmarks.hardware --dataset blood --image-size 128

Measures, in turns: products of large matrices by TensorFlow (the processor's rate), and steps of
the study's own model on images in memory. FLOP are counted from the model's layers: two for each
product of a convolution or dense layer, thrice (forward, and the gradients of inputs and kernel).
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from dotenv import load_dotenv

from benchmarks.settings import config_of
from benchmarks.settings import parser_of
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.config import TrialConfig

with quiet_stderr():
    import keras
    import tensorflow as tf

    from study.training import backbone
    from study.training import runtime
    from study.training.model import build_compiled_model

SIDE, PRODUCTS, STEPS = 2048, 10, 4
DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16"}


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Return the median of a few turns, after a first that does not count."""
    laps = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        laps.append(time.perf_counter() - start)
    return statistics.median(laps[1:])


def product_rate(dtype: str) -> float:
    """Measure the FLOP/s of matrix products."""
    left, right = (tf.cast(tf.random.normal((SIDE, SIDE)), dtype) for _ in range(2))
    product = tf.function(tf.matmul)

    def work() -> None:
        for _ in range(PRODUCTS):
            product(left, right).numpy()

    return 2 * SIDE**3 * PRODUCTS / seconds_of(work, 5)


def flop_of(layer: keras.Layer) -> float:
    """Count the FLOP of a layer and its sublayers, for one image, forward."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return 2.0 * math.prod(layer.kernel.shape[:2]) * math.prod(layer.output.shape[1:])
    if isinstance(layer, keras.layers.Conv2D):
        return 2.0 * math.prod(layer.kernel.shape[:3]) * math.prod(layer.output.shape[1:])
    if isinstance(layer, keras.layers.Dense):
        return 2.0 * math.prod(layer.kernel.shape)
    if not isinstance(layer, keras.Model):
        layer = getattr(layer, "backbone", None)  # of trials that share it
    return sum(flop_of(each) for each in layer.layers) if layer is not None else 0.0


def step_of(config: TrialConfig) -> tuple[Callable[[], object], float]:
    """Return a function that runs `STEPS` training steps, and the FLOP of one step."""
    backbone.clear_kept_backbone()
    model = build_compiled_model(config, 2)
    shape = (config.batch_size, config.image_size, config.image_size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    labels = tf.constant(np.arange(config.batch_size) % 2)
    step = tf.function(lambda: model.train_step((images, labels)), autograph=False)

    def work() -> None:
        for _ in range(STEPS):
            step()

    return work, 3 * config.batch_size * flop_of(model)


def measure(args: argparse.Namespace) -> None:
    """Print a row for each precision."""
    runtime.prepare_backend()
    base = config_of(args)
    print(f"{base.backbone}, {base.image_size} px, batch {base.batch_size}\n")
    print("| precision | images/s | ratio | GFLOP/s | products, GFLOP/s | of them |")
    print("| --- | --- | --- | --- | --- | --- |")
    first = 0.0
    for precision, dtype in DTYPES.items():
        work, flop = step_of(base.replace(precision=precision))
        before, seconds, after = product_rate(dtype), seconds_of(work, 5), product_rate(dtype)
        speed, rate = STEPS * base.batch_size / seconds, STEPS * flop / seconds
        first, most = first or speed, (before + after) / 2
        print(
            f"| {precision} | {speed:.1f} | {speed / first:.2f} | {rate / 1e9:.0f} | "
            f"{most / 1e9:.0f} | {rate / most:.2f} |",
            flush=True,
        )


def main() -> None:
    measure(parser_of(__doc__).parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
