"""What other processes do with SQLite files; apart from the tests, so that they start fast."""

import os
from typing import Any

from study.search.storage import Storage
from study.tracking import connection
from study.tracking import experiments


def record(barrier: Any, queue: Any) -> None:
    """Uses files that nobody has used before; puts the ids of a run and its experiment."""
    barrier.wait()
    client = connection.connect()
    Storage(f"study {os.getpid()}").study("maximize").ask()
    run = client.create_run(experiments.experiment_id(client, "demo"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    queue.put((run.info.run_id, run.info.experiment_id))
