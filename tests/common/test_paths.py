from pathlib import Path

import pytest

from study.common.errors import StudyError
from study.common.paths import check_outside
from study.common.paths import list_writes_inside
from study.common.paths import parse_path
from study.common.paths import resolve_folder
from study.common.paths import resolve_path


@pytest.mark.parametrize("text", ["loop", "~no-such-user-here/images"])
def test_resolve_path_that_leads_nowhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StudyError, match=f"cannot follow the path '{text}'"):
        resolve_path(text)


def test_resolve_folder_returns_the_absolute_path_in_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_folder("folder: a/../my cells/ ") == tmp_path.resolve() / "my cells"


def test_writes_inside_are_the_databases_and_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path.resolve() / "data"
    (data / "a").mkdir(parents=True)
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert list_writes_inside(data) == []
    monkeypatch.chdir(data)
    names = ["exports", "mlflow.db", "mlruns", "study.db"]
    assert list_writes_inside(data) == [str(data / name) for name in names]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_CACHE", str(data / "a" / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{data / 'runs.db'}")
    monkeypatch.setenv("STUDY_STORAGE", "postgresql://host/study")
    assert list_writes_inside(data) == [str(data / "a" / "cache"), str(data / "runs.db")]


@pytest.mark.parametrize("out", ["data", "data/out", "data/a/out", "link/out"])
def test_check_outside_refuses_a_folder_within_the_data_set(tmp_path: Path, out: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(StudyError, match="choose another with --out"):
        check_outside(tmp_path / out, f"folder: {tmp_path}/data/")


def test_check_outside_accepts_other_folders(tmp_path: Path) -> None:
    check_outside(tmp_path / "data-2" / "out", f"folder:{tmp_path / 'data'}")
    check_outside(tmp_path / "out", "demo")
    check_outside(None, f"folder:{tmp_path}")


def test_parse_path_expands_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/one")
    assert parse_path("~/here") == Path("/home/one/here")
    with pytest.raises(StudyError, match="cannot follow the path '~no-such-user-here/x'"):
        parse_path("~no-such-user-here/x")
