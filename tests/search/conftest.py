"""Fixtures of the tests of searches and grids."""

from pathlib import Path

import pytest

from study.search.claims import Claims
from tests.support.claim_tasks import claims_of
from tests.support.servers import Postgres


@pytest.fixture
def postgres_study(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """The name of a new study on PostgreSQL, with a heartbeat each second."""
    for name, value in postgres.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STUDY_HEARTBEAT", "1")
    return str(request.node.name)


@pytest.fixture
def claims_on_postgresql(postgres_study: str) -> Claims:
    """Of an empty study on PostgreSQL, with a heartbeat each second."""
    return claims_of(postgres_study)


@pytest.fixture
def claims_on_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claims:
    """Of an empty study on SQLite."""
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/study.db")
    return claims_of("alone")
