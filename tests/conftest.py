"""Fixtures of all tests: no setting of the developer's leaks in, nothing is written outside tmp."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from hypothesis import settings
from mlflow.tracking import MlflowClient

from study.tracking.connection import connect
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.servers import Postgres
from tests.support.servers import running_postgres

SHARED = Path(__file__).resolve().parents[2] / "shared"
# The files that take a minute or more. They run first, so that the test processes end together.
LONGEST = (
    *("test_chaos.py", "test_offline.py", "test_sync.py", "test_real.py", "test_loop_jax.py"),
    *("test_ray_cluster.py", "test_tpe.py", "test_resume.py", "test_grid.py", "test_model.py"),
)

# How long an example takes depends on the machine, and the first one imports SciPy
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One STUDY_CACHE for the session, so that the demo images are drawn once.

    What JAX compiles is shared with the other processes of the session: it takes a minute.
    """
    folder = tmp_path_factory.mktemp("study_cache")
    base = tmp_path_factory.getbasetemp()
    compiled = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    compiled.mkdir(exist_ok=True)
    (folder / "compiled").symlink_to(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def freeze_modules() -> None:
    """Leaves what is imported out of the search for garbage, which Keras and statsmodels ask for.

    With TensorFlow loaded, each search would take a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_env(monkeypatch: pytest.MonkeyPatch, session_cache: Path) -> None:
    """Takes the developer's settings out of the environment."""
    mlflow.set_tracking_uri(None)  # what a test of this process connected to
    for name in list(os.environ):
        if name == "DATA_DIR" or name.startswith(("MLFLOW_", "STUDY_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STUDY_CACHE", str(session_cache))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow SQLite file without runs, to copy: making its tables takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Of an MLflow SQLite file in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    # Absolute: within a process MLflow keeps the file that a relative address first named
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return connect()


@pytest.fixture(scope="session")
def registered(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one config was trained and registered; what was said is in `said.txt`."""
    folder = tmp_path_factory.mktemp("registered")
    shutil.copy(empty_database, folder / "mlflow.db")
    # so that it tells images apart after two epochs
    flags = (*TINY, "--epochs", "2", "--hidden-layers", "0", "--bn-momentum", "0.5", "--register")
    (folder / "said.txt").write_text(succeed_here("study.train", *flags, cwd=folder))
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL for all tests."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def ascii_database(postgres: Postgres) -> str:
    """The address of a database `in_ascii`, whose encoding is not UTF-8."""
    return postgres.make("in_ascii", "ENCODING 'SQL_ASCII' TEMPLATE template0")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real images and weights beside the repository; CI must have it."""
    if not SHARED.is_dir():
        reason = f"no real images and weights at {SHARED}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED
