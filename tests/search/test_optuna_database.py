"""Optuna's database on a real PostgreSQL."""

import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from study.common.errors import StudyError
from study.common.settings import storage_url
from study.search import optuna_database
from study.search.storage import Storage
from tests.support.claim_tasks import claims_of
from tests.support.claim_tasks import open_study
from tests.support.data_tasks import run_in_processes
from tests.support.servers import Postgres


def test_processes_opening_an_empty_database_at_once_all_succeed(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", postgres.make("empty"))
    monkeypatch.setenv("PGPASSWORD", postgres.settings["PGPASSWORD"])
    assert max(run_in_processes(open_study, 4, "first")) == 4
    assert len(claims_of("first").trials(TrialState.RUNNING)) == 4


def test_storage_in_another_encoding_is_refused(
    ascii_database: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", ascii_database)
    monkeypatch.setenv("PGPASSWORD", postgres.settings["PGPASSWORD"])
    with pytest.raises(StudyError, match="in_ascii is encoded in SQL_ASCII"):
        Storage("study")


def test_storage_opens_although_a_frozen_process_has_locked_the_tables(
    postgres_study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_database, "FREEZE_SECONDS", 1)
    engine = create_engine(storage_url(), poolclass=NullPool)
    with engine.connect() as frozen:
        optuna_database.acquire_advisory_lock(frozen, "tables")
        assert Storage(postgres_study).name == postgres_study
        frozen.invalidate()  # the server has ended it


def test_connection_to_postgresql_has_limits_unless_the_address_sets_them(
    postgres_study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"{storage_url()}?connect_timeout=7")
    with Storage(postgres_study).rdb.engine.connect() as connection:
        dsn = connection.connection.dbapi_connection.get_dsn_parameters()  # type: ignore[union-attr]
    names = ("connect_timeout", "keepalives", "keepalives_idle", "tcp_user_timeout")
    assert [dsn[name] for name in names] == ["7", "1", "15", "30000"]
