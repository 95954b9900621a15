"""Fixtures of the tests of searches and grids."""

import pytest

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
