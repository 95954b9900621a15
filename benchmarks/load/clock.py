"""Time each call of a simulated worker of benchmarks.load, and count failures."""

import time
from collections import Counter
from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from mlflow.tracking import MlflowClient

from study.tracking import failures


@dataclass
class WorkerResult:
    """The seconds of each call of a worker by its purpose, and the failures."""

    seconds: dict[str, list[float]]
    errors: dict[str, int]
    started_at: float  # seconds since 1970
    ended_at: float  # seconds since 1970, of the last trial
    cpu_seconds: float
    trained: int  # trials
    gave_up: str  # why it ended early


@dataclass
class Clock:
    """The seconds of each call by its purpose, and the number of failures by message."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def time_call(self, purpose: str) -> Iterator[None]:
        """Time the block, or count its failure."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.errors[f"{purpose}: {failures.describe_error(error)}"[:160]] += 1
            raise
        self.seconds[purpose].append(time.perf_counter() - start)


class TimedClient(MlflowClient):
    """MLflow's client, which times the calls that outboxes make."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def log_batch(  # noqa: D102
        self, run_id: str, metrics: Sequence[Any] = (), *rest: Any, **more: Any
    ) -> Any:
        with self.clock.time_call("epoch" if metrics else "params and tags"):
            return super().log_batch(run_id, metrics, *rest, **more)

    def log_artifacts(self, run_id: str, local_dir: str, *rest: Any) -> None:  # noqa: D102
        with self.clock.time_call("files"):
            super().log_artifacts(run_id, local_dir, *rest)
