"""A cache folder that cannot be written is one line that says what to set."""

import errno
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from mlflow.tracking import MlflowClient

from study.common.cache import cache_dir
from study.common.cache import cache_errors_as_data_errors
from study.common.cache import exclusive_cache_lock
from study.common.errors import ConfigError
from study.common.errors import DataError
from study.config.trial_config import TrialConfig
from study.data import prepare
from study.search.storage import Storage
from study.tracking import connection
from study.tracking import spool
from study.trial import train_config


@pytest.fixture(params=["cache is a file", "cache is below a file"])
def unwritable_cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A cache folder that nobody can make, not even root."""
    file = tmp_path / "file"
    file.write_text("")
    folder = file / "cache" if "below" in request.param else file
    monkeypatch.setenv("STUDY_CACHE", str(folder))
    return folder


def assert_names_the_cache(action: Callable[[], object], folder: Path) -> None:
    """Check that the action fails with one line about the cache folder."""
    with pytest.raises(DataError) as caught:
        action()
    message = str(caught.value)
    assert message.startswith(f"cannot write to the cache folder {folder} (")
    assert message.endswith("): set STUDY_CACHE to a folder that can be written")


def hold_study_lock() -> None:
    """Open and close the lock of a search on SQLite."""
    with Storage("a study").lock_for_process():
        pass


def test_training_beside_a_server_with_an_unwritable_cache_names_it(
    client: MlflowClient, unwritable_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # what does not need the cache, with a server and images elsewhere
    monkeypatch.setattr(connection, "connect", lambda: client)
    for name in ("compute_data_digest", "compute_name_digest"):
        monkeypatch.setattr(train_config, name, lambda *_: "0" * 64)
    config = TrialConfig(dataset=f"folder:{tmp_path}", image_size=32)
    assert_names_the_cache(lambda: train_config.train_config(config), unwritable_cache)


@pytest.mark.parametrize(
    "action", [connection.connect, hold_study_lock, lambda: prepare.prepare("demo", 32)]
)
def test_each_use_of_an_unwritable_cache_names_it(
    unwritable_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    action: Callable[[], object],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_names_the_cache(action, unwritable_cache)


def test_reading_the_spool_of_an_unwritable_cache_finds_nothing(
    unwritable_cache: Path,  # noqa: ARG001
) -> None:
    assert spool.list_spools() == []


def test_full_disk_also_offers_to_train_without_the_cache() -> None:
    with (
        pytest.raises(DataError, match=r"\(full\): free some space, .* or train with --no-cache$"),
        cache_errors_as_data_errors(),
    ):
        raise OSError(errno.ENOSPC, "full")


def test_lock_that_is_held_is_not_mistaken_for_an_unwritable_cache(tmp_path: Path) -> None:
    with pytest.raises(filelock.Timeout), cache_errors_as_data_errors():
        raise filelock.Timeout(str(tmp_path / "lock"))


def test_cache_lock_that_is_exclusive_leaves_the_errors_of_its_block_as_they_are(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="full"), exclusive_cache_lock(tmp_path / "state"):
        raise OSError(errno.ENOSPC, "full")


def test_cache_dir_of_an_unknown_users_home_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_CACHE", "~nobody-of-that-name/cache")
    with pytest.raises(ConfigError, match=r"STUDY_CACHE=~nobody-of-that-name/cache names the home"):
        cache_dir()
