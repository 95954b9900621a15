"""A trial killed again and again ends as one that nobody touched, in the same MLflow run."""

import dataclasses
import shutil
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.support.commands import client_of
from tests.support.commands import count_saved_epochs
from tests.support.commands import finish
from tests.support.commands import history_of
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import TINY
from tests.support.commands import wait_until

EPOCHS = 12  # enough that three interruptions come in time
# What is sent to the trial, by the number of saved epochs from which on it is sent
SIGNALS = {1: signal.SIGKILL, 3: signal.SIGINT, 5: signal.SIGTERM}
FLAGS = (*TINY, "--epochs", str(EPOCHS), "--hidden-layers", "2")


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder with its own database and training state; the images are shared."""

    folder: Path

    @property
    def client(self) -> MlflowClient:
        return client_of(self.folder)

    @property
    def run(self) -> Run:
        (found,) = runs_of(self.client)
        return found

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def start(self) -> "subprocess.Popen[str]":
        return start("study.train", *FLAGS, cwd=self.folder, STUDY_CACHE=str(self.cache))

    def finish(self) -> "subprocess.CompletedProcess[str]":
        return run_here("study.train", *FLAGS, cwd=self.folder, STUDY_CACHE=str(self.cache))

    def epochs_saved(self) -> int:
        return count_saved_epochs(self.cache)

    def predictions(self) -> pd.DataFrame:
        return pd.read_parquet(
            self.client.download_artifacts(self.run.info.run_id, "predictions.parquet")
        )


@dataclasses.dataclass(frozen=True)
class Story:
    """What happened: one trial left alone; one killed, stopped in two ways, then finished."""

    alone: Place
    disturbed: Place
    run_ids: list[str]  # of the disturbed trial after each of its four processes
    statuses: list[str]
    exit_codes: list[int]
    saved: list[int]  # epochs
    outputs: list[str]


def new_place(folder: Path, empty_database: Path) -> Place:
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return Place(folder)


@pytest.fixture(scope="module")
def story(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("resume")
    alone = new_place(root / "alone", empty_database)
    disturbed = new_place(root / "disturbed", empty_database)
    story = Story(alone, disturbed, [], [], [], [], [])
    for wanted, sign in SIGNALS.items():
        note_process(story, *run_until_interrupted(disturbed, wanted, sign))
    note_process(story, disturbed.finish(), disturbed.epochs_saved())
    assert alone.finish().returncode == 0
    return story


def run_until_interrupted(
    place: Place, epochs: int, sign: signal.Signals
) -> "tuple[subprocess.CompletedProcess[str], int]":
    """Run the command until `epochs` are saved, then send it a signal; and how many were."""
    process = place.start()
    try:
        wait_until(lambda: place.epochs_saved() >= epochs, process)
        process.send_signal(sign)
        return finish(process), place.epochs_saved()
    finally:
        process.kill()


def note_process(story: Story, done: "subprocess.CompletedProcess[str]", saved: int) -> None:
    run = story.disturbed.run
    story.run_ids.append(run.info.run_id)
    story.statuses.append(run.info.status)
    story.exit_codes.append(done.returncode)
    story.saved.append(saved)
    story.outputs.append(done.stderr)


def test_interruptions_came_between_first_and_last_epoch(story: Story) -> None:
    assert 1 <= story.saved[0] < story.saved[1] < story.saved[2] < EPOCHS


def test_interrupted_trial_stays_one_run(story: Story) -> None:
    assert len(set(story.run_ids)) == 1
    assert story.statuses == ["RUNNING", "KILLED", "KILLED", "FINISHED"]
    assert story.disturbed.run.data.tags["finished"] == "true"
    assert "given_up" not in story.disturbed.run.data.tags


def test_trial_stopped_by_ctrl_c_or_sigterm_exits_130_and_continues_when_repeated(
    story: Story,
) -> None:
    assert story.exit_codes == [-signal.SIGKILL, 130, 130, 0]
    for output in story.outputs[1:3]:  # SIGTERM, as of a container that is stopped, is as Ctrl-C
        assert "Traceback" not in output
        assert output.endswith("repeat the command to continue\n")
    for saved, output in zip(story.saved, story.outputs[1:], strict=False):
        assert f"continuing after epoch {saved}\n" in output


@pytest.mark.parametrize(
    "name", ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "epoch_seconds"]
)
def test_interrupted_trial_logs_every_epoch_once(story: Story, name: str) -> None:
    points = history_of(story.disturbed.client, story.disturbed.run, name)
    assert sorted(step for step, _ in points) == list(range(1, EPOCHS + 1))


@pytest.mark.parametrize("name", ["train_loss", "train_accuracy", "val_loss", "val_accuracy"])
def test_curves_equal_those_of_the_trial_left_alone(story: Story, name: str) -> None:
    curves = [
        sorted(history_of(place.client, place.run, name))
        for place in (story.alone, story.disturbed)
    ]
    assert curves[0] == curves[1]


def test_final_figures_equal_those_of_the_trial_left_alone(story: Story) -> None:
    alone, disturbed = story.alone.run.data.metrics, story.disturbed.run.data.metrics
    for name in ("test_loss", "test_accuracy", "dead_units", "epochs_run"):
        assert disturbed[name] == alone[name]
        assert len(history_of(story.disturbed.client, story.disturbed.run, name)) == 1


def test_predictions_equal_those_of_the_trial_left_alone(story: Story) -> None:
    pd.testing.assert_frame_equal(
        story.disturbed.predictions(), story.alone.predictions(), check_exact=True
    )


def test_interrupted_trial_adds_up_the_times_of_its_processes(story: Story) -> None:
    run = story.disturbed.run
    points = history_of(story.disturbed.client, run, "epoch_seconds")
    figures = run.data.metrics
    assert figures["fit_seconds"] == pytest.approx(sum(value for _, value in points))
    assert figures["total_seconds"] > figures["fit_seconds"]


def test_finished_trial_leaves_no_checkpoint(story: Story) -> None:
    for place in (story.alone, story.disturbed):
        assert place.epochs_saved() == 0
