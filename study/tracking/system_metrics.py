"""Measure a run's system metrics (CPU, memory, GPU) while it trains.

MLflow measures them, and the run's outbox sends them.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from study.tracking import operations
from study.tracking.operations import now_ms
from study.tracking.outbox import Outbox


class Monitor(SystemMetricsMonitor):
    """MLflow's monitor without its own requests to the server.

    The first request that failed would end MLflow's monitor.
    """

    def __init__(self, outbox: Outbox, *, resumed: bool) -> None:
        super().__init__(outbox.run_id, resume_logging=resumed)
        self.outbox = outbox

    def monitor(self) -> None:
        """Collect, wait and send in a loop, in the monitor's own thread."""
        while not self._shutdown_event.is_set():
            for _ in range(self.samples_before_logging):
                self.collect_metrics()
                self._shutdown_event.wait(self.sampling_interval)
            if not self._shutdown_event.is_set():
                self.publish_metrics(self.aggregate_metrics())

    def publish_metrics(self, metrics: dict[str, Any]) -> None:
        """Hand the metrics of one interval to the outbox."""
        prefix = self._metrics_prefix + (f"{self.node_id}/" if self.node_id else "")
        figures = {prefix + name: float(value) for name, value in metrics.items()}
        now = now_ms()
        self.outbox.append(operations.metrics(figures, now, self._logging_step))
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()


@contextlib.contextmanager
def monitor_system(outbox: Outbox, *, resumed: bool) -> Iterator[None]:
    """Measure the machine while the block runs.

    The steps of a resumed run go on where they were.
    """
    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor = Monitor(outbox, resumed=resumed)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
