"""What stands for training where a test is not about it.

`study.grid` and `study.tpe` have a worker call `study.trial.train_config:train_config` for each
config. `StubTraining` is such a worker: it answers at once, with figures that the test makes up,
and there are no images, no Keras and no run of the trial. All else is real: the plan, the claims in
Optuna's storage, the parent run in MLflow. `InlineWorker` does train, but in this process, which
has loaded Keras.
"""

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from study.config.trial_config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.workers.pool import Worker
from tests.support.images import write_noise_image


def make_outcome(value: float, *, run_id: str = "run", test_accuracy: float = 0.5) -> Outcome:
    """An outcome of this validation accuracy, with other values for its other figures."""
    return Outcome(run_id, value, test_accuracy, 1 - value, value / 2, value / 4)


class InlineWorker:
    """A worker whose calls run in this process; a process of its own takes seconds to start."""

    def call(self, function: str, *args: Any) -> Any:
        return resolve_name(function)(*args)

    def cancel(self) -> None:
        """Nothing is left to cancel, as with `interrupt`."""

    def interrupt(self) -> None:
        """Nothing is left to interrupt: a call that is under way has raised the error itself."""

    def close(self) -> None:
        pass


class StubTraining(InlineWorker):
    """A worker that answers `answer(config)` in place of training, and keeps what it was asked."""

    def __init__(self, answer: Callable[[TrialConfig], Outcome]) -> None:
        self.answer = answer
        self.asked: list[TrialConfig] = []

    def call(self, function: str, *args: Any) -> Outcome:
        assert function == "study.trial.train_config:train_config"
        config, options = args
        assert isinstance(options, Options)
        self.asked.append(config)
        return self.answer(config)


class ImagesChange(StubTraining):
    """A worker that adds an image after its first answer, and does train all later configs."""

    def __init__(self, answer: Callable[[TrialConfig], Outcome], image: Path) -> None:
        super().__init__(answer)
        self.image = image

    def call(self, function: str, *args: Any) -> Outcome:
        if self.asked:
            outcome: Outcome = InlineWorker.call(self, function, *args)
            return outcome
        outcome = super().call(function, *args)
        write_noise_image(self.image, seed=999)
        return outcome


def use_worker(monkeypatch: pytest.MonkeyPatch, worker: Worker) -> None:
    """Have the commands use this worker where they would start processes on this machine."""
    for module in ("study.workers.flags", "study.offline"):
        monkeypatch.setattr(f"{module}.make_local_workers", lambda count, _: [worker] * count)
