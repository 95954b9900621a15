"""What is asked of MLflow while training."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingError
from study.tracking import experiments
from study.tracking import queries


@pytest.mark.parametrize(
    "value",
    ["plain", "o'brien", 'say "b"', "o'b\"c", "a\\", "o'b\"c\\d", "100%", "a_b -- c"],
)
def test_run_is_found_by_a_tag_with_any_characters(client: MlflowClient, value: str) -> None:
    name = f"grid-folder:/{value}"
    others = [name.replace("'", "x").replace('"', "x"), name.upper(), f"{name}y"]
    ids = {tag: client.create_run("0", tags={"study": tag}).info.run_id for tag in {name, *others}}
    found = queries.search_runs_by_tags(client, {"study": name}, "attributes.status = 'RUNNING'")
    assert [run.info.run_id for run in found] == [ids[name]]


def test_search_runs_finds_more_than_one_page(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = experiments.experiment_id(client, "demo")
    made = [client.create_run(place, start_time=i + 1).info.run_id for i in range(5)]
    monkeypatch.setattr(queries, "PAGE", 2)
    assert [run.info.run_id for run in queries.search_runs(client, "")] == made


def test_query_to_a_failing_server_is_an_error_of_one_line(
    client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match="MLflow at sqlite:") as caught:
        queries.search_runs(client, "")
    assert len(str(caught.value).splitlines()) == 1
