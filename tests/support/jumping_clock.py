"""`python -m study.train` on a machine whose clock is set back an hour, then forward a day, ...

After each epoch it jumps. What has no business with the date must not notice.
"""

import sys
import time

JUMPS = (-3600.0, 86400.0, -7200.0)  # s
real, real_ns = time.time, time.time_ns
offset = 0.0

time.time = lambda: real() + offset  # before anybody takes a copy of it
time.time_ns = lambda: real_ns() + int(offset * 1e9)

from study.common.command import run_command  # noqa: E402
from study.tracking.run_logger import RunLog  # noqa: E402
from study.train import main  # noqa: E402

log_epoch = RunLog.log_epoch


def log_and_jump(log: RunLog, epoch: dict[str, float]) -> None:
    global offset
    log_epoch(log, epoch)
    offset += JUMPS[(int(epoch["epoch"]) - 1) % len(JUMPS)]


if __name__ == "__main__":
    RunLog.log_epoch = log_and_jump  # type: ignore[method-assign,assignment]
    sys.exit(run_command(main))
