"""Which of MLflow's runs count as the finished runs of a data set."""

import math
import shutil
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.export import main
from pipelines.runs.finished_run import NoRunsError
from pipelines.runs.one_run import read_run
from pipelines.runs.read_runs import read_runs
from study.common.command import run_command
from study.data.prepare import compute_data_digest
from tests.support.images import class_folders
from tests.support.store import log_run


@pytest.mark.parametrize("lost", ["val_accuracy", "test_accuracy"])
def test_run_that_lacks_a_figure_is_left_out_and_named(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    experiment = client.create_experiment("chest")
    whole = log_run(client, experiment)
    other = log_run(client, experiment, variant=2)
    client.log_metric(other, lost, math.nan, step=1)
    assert [run.run_id for run in read_runs("chest")] == [whole]
    assert capsys.readouterr().err == f"warning: run {other} is left out: it has no {lost}\n"
    with pytest.raises(NoRunsError, match=f"run {other} cannot be used: it has no {lost}"):
        read_run(client, other)


def test_equal_images_find_the_same_runs_by_whatever_path(
    client: MlflowClient, tmp_path: Path
) -> None:
    class_folders(tmp_path / "cells", {"a": 2, "b": 2})
    shutil.copytree(tmp_path / "cells", tmp_path / "moved")
    class_folders(tmp_path / "others", {"a": 3, "b": 2})
    digest = compute_data_digest("folder:cells")
    experiment = client.create_experiment("cells")
    for number, name in enumerate(["cells", "./cells", f"{tmp_path}/cells", "/elsewhere/cells"]):
        fields = {"seed": number}
        log_run(client, experiment, f"folder:{name}", fields=fields, tags={"data_digest": digest})
    log_run(client, experiment, "folder:/elsewhere/cells", tags={"data_digest": "of others"})
    for name in ("cells", "./cells/", f"{tmp_path}/cells", "moved"):
        runs = read_runs(f"folder:{name}")
        assert {run.config.seed for run in runs} == {0, 1, 2, 3}
        assert {run.config.dataset for run in runs} == {f"folder:{name}"}
        assert {run.data_digest for run in runs} == {digest}
    with pytest.raises(NoRunsError):
        read_runs("folder:others")
    names = [f"{label}/{number:03}.png" for label in "ab" for number in range(2)]
    text = "".join(f"{name},1\n" for name in names)
    (tmp_path / "moved" / "groups.csv").write_text(f"image,group\n{text}")
    assert len(read_runs("folder:moved")) == 4


def test_runs_are_found_by_their_path_where_the_images_are_not(client: MlflowClient) -> None:
    log_run(client, client.create_experiment("cells"), "folder:/elsewhere/cells")
    assert len(read_runs("folder:/elsewhere/cells/")) == 1


def test_command_with_a_path_is_printed_as_a_shell_needs_it(
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    client.create_experiment("cells")
    monkeypatch.setattr(sys, "argv", ["export", "--dataset", "folder:my cells"])
    assert run_command(main) == 2
    assert f"python -m study.grid --dataset 'folder:{tmp_path}/my cells'" in capsys.readouterr().err
