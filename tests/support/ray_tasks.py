"""What runs on a Ray cluster in tests; run as a module, it is a driver with a trial for each seed.

python -m tests.support.ray_tasks ADDRESS EPOCHS SEED [SEED]
"""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from study.config.trial_config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.variants import resolve_config
from study.workers.ray_cluster import RayWorker
from study.workers.ray_machines import connect


def raise_value_error(name: str) -> None:
    """Fail with a setting at hand."""
    value = os.environ[name]
    raise ValueError(f"a setting of {len(value)} characters")


def die(path: str) -> None:
    """Add a line to a file, and end as a killed process does."""
    with Path(path).open("a") as file:
        file.write("died\n")
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_until_interrupted(path: str) -> None:
    """Make a file, sleep, and write into it what came."""
    Path(path).touch()
    try:
        while True:  # Ray's interruptions come between two steps of Python, not within a sleep
            time.sleep(0.01)
    except KeyboardInterrupt:
        Path(path).write_text("interrupted")
        raise


def tiny(epochs: int, seed: int) -> TrialConfig:
    fields = {"image_size": 32, "alpha": 0.25, "weights": "none", "limit": 80, "batch_size": 16}
    return resolve_config("demo", None, fields | {"epochs": epochs, "seed": seed})


def main(address: str, epochs: int, seeds: list[int]) -> None:
    room = connect(address)

    def trained(number: int) -> Outcome:
        options = Options(wait_for_lock=True, label=f"[{number}/{len(seeds)}] ")
        with closing(RayWorker()) as worker:
            config = tiny(epochs, seeds[number - 1])
            outcome: Outcome = worker.call("study.trial.train_config:train_config", config, options)
            return outcome

    with ThreadPoolExecutor(len(seeds)) as pool:
        outcomes = list(pool.map(trained, range(1, len(seeds) + 1)))
    loaded = sorted({"keras", "tensorflow"} & sys.modules.keys())
    print(json.dumps({"room": room, "runs": [o.run_id for o in outcomes], "loaded": loaded}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(seed) for seed in sys.argv[3:]])
