"""Which of MLflow's runs count as the finished runs of a data set."""

import math

import pytest
from mlflow.tracking import MlflowClient

from pipelines.runs.finished import NoRunsError
from pipelines.runs.finished import read_runs
from pipelines.runs.one_run import read_run
from tests.support.store import log_run


@pytest.mark.parametrize("lost", ["val_accuracy", "test_accuracy"])
def test_a_run_that_lacks_a_figure_is_left_out_and_named(
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
