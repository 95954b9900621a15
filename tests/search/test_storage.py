"""Optuna's storage: what is no database of Optuna's is refused in one line."""

from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine
from sqlalchemy import text

from study.common.errors import StudyError
from study.search.storage import Storage


def test_storage_in_mlflows_database_is_refused_and_leaves_it_alone(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("STUDY_STORAGE", url)
    with pytest.raises(StudyError, match=r"mlflow\.db is a database of MLflow's") as caught:
        Storage("a study")
    assert len(str(caught.value).splitlines()) == 1
    with create_engine(url).connect() as database:
        names = database.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    assert "version_info" not in names
    client.create_experiment("MLflow still works")


@pytest.mark.usefixtures("client")
def test_storage_keeps_optunas_notices_out_of_the_output() -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    Storage("a study")
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR


def test_storage_in_no_folder_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/none/study.db")
    message = rf"study\.db: there is no folder {tmp_path}/none\n.*STUDY_STORAGE"
    with pytest.raises(StudyError, match=message):
        Storage("a study")


@pytest.mark.parametrize(
    ("revision", "message"),
    [("v3.0.0.a", "by an older Optuna .* optuna storage upgrade"), ("v99", "by a newer Optuna")],
)
def test_storage_of_another_schema_says_which_side_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str, message: str
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="x")
    with create_engine(url).begin() as database:
        database.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    monkeypatch.setenv("STUDY_STORAGE", url)
    with pytest.raises(StudyError, match=message) as caught:
        Storage("a study")
    assert len(str(caught.value).splitlines()) == 1
