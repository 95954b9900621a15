"""What trains the trials of a driver: processes on this machine, or a Ray cluster's."""

import argparse
import contextlib
from collections.abc import Iterator
from collections.abc import Sequence

from study import tracking
from study.cli import Parser
from study.config import ConfigError
from study.config import StudyError
from study.crew import Worker
from study.launch import local_workers
from study.study_storage import storage_url
from study.study_storage import takes_many

MAX_WORKERS = 1000


def add_engine_flags(parser: Parser) -> None:
    """`--workers`."""
    parser.add_argument(
        "--workers", metavar="N", default="1",
        help="train N trials at once, on PostgreSQL and an MLflow server [default: 1]",
    )  # fmt: skip


@contextlib.contextmanager
def workers_from(args: argparse.Namespace) -> Iterator[Sequence[Worker]]:
    """The workers that the flags name; their processes end with the block.

    Raises:
        ConfigError: the number is out of range.
        StudyError: SQLite is to be written by many.
    """
    if not (args.workers.isdecimal() and 1 <= int(args.workers) <= MAX_WORKERS):
        raise ConfigError(f"workers={args.workers!r} is out of range: use 1 to {MAX_WORKERS}")
    count = int(args.workers)
    if count > 1:
        _check_servers(f"--workers {count}")
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(worker) for worker in local_workers(count)]


def _check_servers(flag: str) -> None:
    alone = {
        "STUDY_STORAGE": not takes_many(storage_url()),
        "MLFLOW_TRACKING_URI": tracking.tracking_uri().startswith("sqlite:"),
    }
    missing = " and ".join(name for name, is_alone in alone.items() if is_alone)
    if missing:
        raise StudyError(
            f"{flag} needs PostgreSQL and an MLflow server, for SQLite locks out all writers but "
            f"one: set {missing} (see the README: the server stack), or leave the flag out"
        )
