"""Choose by flags where trials are trained: on this machine or a Ray cluster."""

import argparse
import contextlib
from collections.abc import Iterator
from collections.abc import Sequence

from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.common.parser import parse_count
from study.common.parser import parse_number
from study.common.parser import Parser
from study.common.settings import check_keras_backend
from study.common.settings import keras_backend
from study.common.settings import storage_url
from study.common.settings import supports_concurrency
from study.common.settings import tracking_uri
from study.job import MAX_WORKERS
from study.job import PRELOAD
from study.workers import ray_machines
from study.workers.local import make_local_workers
from study.workers.pool import Worker
from study.workers.ray_cluster import RayWorker

MAX_GPUS = 64


def add_engine_flags(parser: Parser) -> None:
    """Add `--workers`, `--engine` and the flags of the Ray engine."""
    add = parser.add_argument_group("where trials are trained").add_argument
    add(
        "--workers",
        metavar="N",
        help="train N at once; needs PostgreSQL and an MLflow server [default: 1; with Ray: as "
        "many as the cluster has room for]",
    )
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes on this machine, or tasks on a Ray cluster [default: local]",
    )
    add(
        "--ray-address",
        metavar="A",
        default="auto",
        help="address of the cluster's head [default: auto]",
    )
    add(
        "--gpus-per-trial",
        metavar="G",
        default="0",
        help="on the cluster; 0 gives a trial the cores of a machine [default: 0]",
    )


@contextlib.contextmanager
def open_workers(args: argparse.Namespace) -> Iterator[Sequence[Worker]]:
    """Yield the workers that the flags name.

    Their processes end with the block.

    Raises:
        ConfigError: a number is out of range, or Keras' backend cannot train here.
        StudyError: several workers would write to SQLite.
    """
    count = None if args.workers is None else parse_count("workers", args.workers, MAX_WORKERS)
    gpus = parse_number("gpus_per_trial", args.gpus_per_trial, 0, MAX_GPUS)
    if args.engine == "ray":
        _check_servers("--engine ray")
        keras_backend()  # checks the name alone: it need not be installed here
        capacity = ray_machines.connect(args.ray_address, gpus)
        workers: Sequence[Worker] = [RayWorker(gpus) for _ in range(count or capacity)]
    else:
        if gpus or args.ray_address != "auto":
            raise ConfigError("--ray-address and --gpus-per-trial need --engine ray: add it")
        if count is not None and count > 1:
            _check_servers(f"--workers {count}")
        check_keras_backend()
        workers = make_local_workers(count or 1, PRELOAD)
    with contextlib.ExitStack() as stack:
        for worker in workers:
            stack.callback(worker.close)
        yield workers


def _check_servers(flag: str) -> None:
    takes_one_writer = {
        "STUDY_STORAGE": not supports_concurrency(storage_url()),
        "MLFLOW_TRACKING_URI": tracking_uri().startswith("sqlite:"),
    }
    missing = " and ".join(name for name, is_single in takes_one_writer.items() if is_single)
    if missing:
        raise StudyError(
            f"{flag} needs PostgreSQL and an MLflow server, because SQLite allows only one writer: "
            f"set {missing} (see docs/cluster.md: the server stack), or leave the flag out"
        )
