"""Settings from the environment are trimmed, and refused if they cannot be meant."""

import os
from pathlib import Path

import pytest

from study.common import settings
from study.common.cache import cache_dir
from study.common.errors import ConfigError


@pytest.mark.parametrize(
    "text", ["a.db\r", " a.db", "a.db ", '"a.db"', "'a.db'", "\ufeffa.db\u200b", '" a.db"\r\n']
)
def test_setting_is_read_without_what_surrounds_it(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("STUDY_X", text)
    assert settings.read_setting("STUDY_X") == "a.db"


@pytest.mark.parametrize("text", ["my\rstudy", "my\x07study", "my\u200bstudy"])
def test_setting_with_an_invisible_character_within_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", text)
    with pytest.raises(ConfigError, match="MLFLOW_EXPERIMENT_NAME has an invisible") as caught:
        settings.read_setting("MLFLOW_EXPERIMENT_NAME")
    assert f"{text[2]!r} as its character 3" in str(caught.value)
    assert "study" not in str(caught.value), "an address may hold a password"


def test_quotes_that_do_not_enclose_the_whole_value_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_X", '"a" b "c"')
    assert settings.read_setting("STUDY_X") == '"a" b "c"'


def test_trimmed_environment_is_what_libraries_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "MLFLOW_EXPERIMENT_NAME": "my-study\r",
        "KERAS_BACKEND": "jax ",
        "KAGGLEHUB_CACHE": "'~/kaggle'",
        "MLFLOW_TRACKING_PASSWORD": ' "secret" \r\n',
        "STUDY_STORAGE": " ",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings.trim_environment()
    assert {name: os.environ.get(name) for name in given} == {
        "MLFLOW_EXPERIMENT_NAME": "my-study",
        "KERAS_BACKEND": "jax",
        "KAGGLEHUB_CACHE": str(Path.home() / "kaggle"),
        "MLFLOW_TRACKING_PASSWORD": ' "secret" ',
        "STUDY_STORAGE": None,
    }


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("sqlite:////data/a.db\r", "sqlite:////data/a.db"),
        ("SQLite:///a.db", "sqlite:///a.db"),
        ("sqlite:///~/a.db", f"sqlite:///{Path.home()}/a.db"),
        ("sqlite+pysqlite:///a.db?timeout=5", "sqlite+pysqlite:///a.db?timeout=5"),
        ("HTTP://Host:5000", "http://Host:5000"),
        ("postgresql+psycopg2://u@h/d", "postgresql+psycopg2://u@h/d"),
        (" ", "sqlite:///mlflow.db"),
    ],
)
def test_tracking_uri_is_read_as_it_is_meant(
    monkeypatch: pytest.MonkeyPatch, text: str, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", text)
    assert settings.tracking_uri() == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sqlite://", "is a database in memory"),
        ("sqlite:///", "is a database in memory"),
        ("sqlite:///:memory:", "is a database in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "is a database in memory"),
        ("sqlite://study.db", "names no file: write three slashes"),
        ("sqlite:study.db", "names no file: write three slashes"),
        ("postgres://u:secret@h/d", "must begin with postgresql://"),
    ],
)
def test_address_that_cannot_be_meant_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", text)
    with pytest.raises(ConfigError, match=f"STUDY_STORAGE.*{message}") as caught:
        settings.storage_url()
    assert "secret" not in str(caught.value)


def test_cache_folder_has_no_line_end_and_no_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_CACHE", "~/cache\r")
    assert cache_dir() == Path.home() / "cache"
