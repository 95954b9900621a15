"""Planning a study: from finished runs, or from assumptions before there are any."""

import itertools
import re
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study.config.sweep import Sweep
from tests.support.commands import run_here
from tests.support.store import log_run
from tests.support.store import log_sweep
from tests.support.store import write_chest_study

ASSUMED = ("--dataset", "blood", "--accuracy", "0.95", "--groups", "150", "--images", "600")


def plan(*flags: str, folder: Path, uri: str = "sqlite:///none.db") -> str:
    done = run_here("pipelines.power", *flags, cwd=folder, MLFLOW_TRACKING_URI=uri)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def read_points(output: str) -> dict[int, float]:
    rows = re.findall(r"^ *(\d+)  ([\d.]+) points", output, re.MULTILINE)
    return {int(seeds): float(points) for seeds, points in rows}


def test_plan_from_assumptions_needs_no_runs(tmp_path: Path) -> None:
    output = plan(*ASSUMED, folder=tmp_path)
    assert output.startswith("Assumed: accuracy 0.95, 600 test images of 150 photographs,")
    assert "1  4.3 points, between two trainings only\n" in output
    points = read_points(output)
    assert list(points) == [1, 2, 3, 5, 10]
    assert points[2] > points[3] > points[5] >= points[10] >= points[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags", [("--correlation", "0.9"), ("--agreement", "0.1"), ("--seed-sd", "2")]
)
def test_stronger_assumption_raises_the_smallest_difference(
    tmp_path: Path, flags: tuple[str, str]
) -> None:
    usual = read_points(plan(*ASSUMED, folder=tmp_path))
    strong = read_points(plan(*ASSUMED, *flags, folder=tmp_path))
    assert strong[5] > usual[5]


def test_plan_from_runs_has_a_table_for_each_protocol(tmp_path: Path) -> None:
    uri = write_chest_study(tmp_path, 2)
    output = plan("--dataset", "chest", folder=tmp_path, uri=uri)
    assert "the baseline, averaged, on 2 seeds, which test 50 patients in all\n" in output
    assert list(read_points(output)) == [1, 2, 3, 5, 10]


def test_plan_from_a_sweep_averages_its_configs_at_the_level_of_its_table(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    place = client.create_experiment("study", artifact_location=str(tmp_path))
    sweep = Sweep({"lr": (1e-5, 1e-4), "head": ("flatten", "gap")}, {"lr": 1e-5, "head": "flatten"})
    shares = (0.7, 0.72, 0.9, 0.8)
    accuracies = dict(zip(itertools.product(*sweep.fields.values()), shares, strict=True))
    log_sweep(client, place, sweep, accuracies)
    output = plan("--dataset", "chest", folder=tmp_path, uri=uri)
    assert output.startswith("Sweep of lr and head: ")
    assert "from 3 comparisons with the baseline, averaged, on 3 seeds, which test 50 p" in output
    # Of the baseline with three others, and of the best with the two that remain
    assert "\nAdjusted for 5 comparisons.\n" in output


def test_runs_of_one_seed_leave_the_number_of_seeds_open(tmp_path: Path) -> None:
    uri = write_chest_study(tmp_path, 1)
    flags = ("--dataset", "chest")
    output = plan(*flags, folder=tmp_path, uri=uri)
    assert list(read_points(output)) == [1]
    assert "More seeds: unknown from runs of one seed" in output
    flags = (*flags, "--seed-sd", "0.7")
    output = plan(*flags, folder=tmp_path, uri=uri)
    assert list(read_points(output)) == [1, 2, 3, 5, 10]


def test_plan_without_runs_asks_for_assumptions(tmp_path: Path) -> None:
    uri = write_chest_study(tmp_path, 1)
    done = run_here("pipelines.power", "--dataset", "blood", cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no finished run of blood in sqlite:")
    assert done.stderr.endswith("state assumptions, such as --accuracy 0.95 --groups 150 "
                                "--images 600\n")  # fmt: skip


def test_plan_without_a_baseline_asks_for_assumptions(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    place = client.create_experiment("study", artifact_location=str(tmp_path))
    log_run(client, place, variant=2)
    done = run_here("pipelines.power", "--dataset", "chest", cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 2
    assert "no run of chest can be compared with the baseline" in done.stderr
