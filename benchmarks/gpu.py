"""Measure training steps on a GPU in images per second, with JAX or with PyTorch.

    KERAS_BACKEND=jax python -m benchmarks.gpu --dataset chest --image-size 224
    KERAS_BACKEND=jax python -m benchmarks.gpu --dataset chest --image-size 224 --processes 4
    python -m benchmarks.gpu --dataset blood --image-size 224 --torch     # needs torchvision, timm

Steps of 32 random images that lie on the device. The first call, which compiles, is not counted.
With --processes, several processes take their steps at the same time, and the sum is printed: start
NVIDIA's MPS first (`nvidia-cuda-mps-control -d`), and set XLA_PYTHON_CLIENT_MEM_FRACTION. PyTorch
computes in bfloat16 (AMP), channels last, without torch.compile.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from threading import Barrier

import numpy as np

from benchmarks.settings import make_config
from benchmarks.settings import make_parser
from study.config.trial_config import TrialConfig

STEPS = 64  # in one call
BATCH = 32
SECONDS = 6.0  # to measure, at least
CLASSES = 4


def make_jax_call(config: TrialConfig) -> Callable[[], object]:
    """Return a function that takes `STEPS` steps as `study.offline` does."""
    from study.training import runtime
    from study.training.arrays import Arrays
    from study.training.loop import make_loop
    from study.training.model import build_compiled_model

    rng = np.random.default_rng(0)
    count = STEPS * BATCH
    size = config.image_size
    x = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    rows = np.arange(count)
    arrays = Arrays(x, rng.integers(0, CLASSES, count), rows, rows[:BATCH], rows[:BATCH], CLASSES)
    runtime.prepare_backend()
    with runtime.on_host():
        model = build_compiled_model(config, CLASSES)
    loop = make_loop(config, arrays, model)
    return lambda: loop.train(rows, lambda *_: None)


def make_torch_call(config: TrialConfig) -> Callable[[], object]:
    """Return a function that takes `STEPS` steps of the same network in PyTorch."""
    import torch

    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last
    network = _make_torch_network(config).cuda().to(memory_format=layout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr)
    size = config.image_size
    x = torch.randn(BATCH, 3, size, size, device="cuda").to(memory_format=layout)
    y = torch.randint(0, CLASSES, (BATCH,), device="cuda")

    def run_steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
        torch.cuda.synchronize()

    return run_steps


def _make_torch_network(config: TrialConfig):  # type: ignore[no-untyped-def]
    if config.backbone == "mobilenet":
        import timm

        return timm.create_model("mobilenetv1_100", num_classes=CLASSES)
    import torchvision

    return torchvision.models.inception_v3(
        weights=None, aux_logits=False, num_classes=CLASSES, init_weights=False
    )


def measure_rate(config: TrialConfig, torch: bool, ready: Barrier, seconds: float) -> float:
    """Return the median images per second of calls that begin together."""
    run_steps = make_torch_call(config) if torch else make_jax_call(config)
    run_steps()
    ready.wait()
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while not rates or time.perf_counter() < end:
        start = time.perf_counter()
        run_steps()
        rates.append(STEPS * BATCH / (time.perf_counter() - start))
    return statistics.median(rates)


def main() -> None:
    """Run the processes, and print what each measured and the sum."""
    parser = make_parser(__doc__)
    parser.add_argument("--precision", default="float32", help="of JAX [default: float32]")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="[default: 1]")
    parser.add_argument("--torch", action="store_true", help="measure PyTorch instead")
    args: argparse.Namespace = parser.parse_args()
    config = make_config(args, precision=args.precision)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(args.processes) as pool:
        ready = manager.Barrier(args.processes)
        work = [(config, args.torch, ready, SECONDS)] * args.processes
        rates = pool.starmap(measure_rate, work, chunksize=1)
    print(f"{sum(rates):.0f} images/s ({' + '.join(f'{rate:.0f}' for rate in rates)})")


if __name__ == "__main__":
    main()
