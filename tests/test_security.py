"""What a file from elsewhere could make the project do, and where passwords could turn up."""

import ast
import fnmatch
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.commands import run
from tests.support.commands import runs_of
from tests.support.commands import TINY
from tests.support.servers import new_server
from tests.support.servers import Server

# Who may unpickle, and why that is safe
EXCEPTIONS = {
    "study/workers/ray_cluster.py": "what its own driver sent through Ray, which pickles itself"
}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def dangers(tree: ast.AST) -> Iterator[str]:
    """Where code runs what a file says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and node.module in UNPICKLERS:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if is_danger(call, given):
                yield call


def is_danger(call: str, given: dict[str | None, str]) -> bool:
    *_, name = call.split(".")
    if name == "load_model":
        return given.get("safe_mode") != "True"
    if call == "torch.load":
        return given.get("weights_only") != "True"
    return (
        call in {"eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
        or name == "read_pickle"
        or given.get("allow_pickle", "False") != "False"
        or given.get("shell", "False") != "False"
    )


def test_code_unpickles_and_evaluates_nothing() -> None:
    found = {}
    for package in ("study", "pipelines", "deploy"):
        for path in (ROOT / package).rglob("*.py"):
            if there := sorted(set(dangers(ast.parse(path.read_text())))):
                found[path.relative_to(ROOT).as_posix()] = there
    assert found == {name: ["pickle"] for name in EXCEPTIONS}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("np.load(f, allow_pickle=True)", True),
        ("np.load(f)", False),
        ("keras.models.load_model(f)", True),
        ("keras.models.load_model(f, safe_mode=True)", False),
        ("torch.load(f)", True),
        ("yaml.load(f, yaml.Loader)", True),
        ("yaml.safe_load(f)", False),
        ("pd.read_pickle(f)", True),
        ("subprocess.run(text, shell=True)", True),
        ("model.eval()", False),
    ],
)
def test_scan_for_unsafe_calls_finds_each_kind(code: str, found: bool) -> None:
    assert bool(list(dangers(ast.parse(code)))) is found


@pytest.mark.parametrize("name", [".env", "mlflow.db", "mlflow.db-wal", "study.db", "mlruns/1"])
def test_git_ignores_settings_and_records(name: str) -> None:
    done = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT)
    assert done.returncode == 0


def in_docker_context(name: str) -> bool:
    """By the rules of .dockerignore: the last pattern that matches a path or its folders wins."""
    inside = True
    parts = name.split("/")
    folders = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").rstrip("/")
        deep = pattern.removeprefix("**/")
        names = parts if deep != pattern else folders
        if any(fnmatch.fnmatchcase(each, deep) for each in names):
            inside = line.startswith("!")
    return inside


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        (".env", False),
        ("deploy/.env", False),
        ("study/.env", False),
        (".git/config", False),
        ("mlflow.db", False),
        ("study/flags.py", True),
        ("requirements.lock", True),
    ],
)
def test_docker_context_leaves_out_settings(name: str, inside: bool) -> None:
    assert in_docker_context(name) is inside


PASSWORDS = {"uri": "1n-the-uri", "mlflow": "0f-mlflow", "postgres": "0f-p0stgres"}


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    server = new_server(tmp_path / "server", empty_database)
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
def test_passwords_are_in_no_output_and_no_file(
    server: Server, tmp_path: Path, session_cache: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    settings = {
        "MLFLOW_TRACKING_URI": server.uri.replace("//", f"//me:{PASSWORDS['uri']}@"),
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": PASSWORDS["mlflow"],
        "STUDY_STORAGE": f"postgresql+psycopg2://me:{PASSWORDS['uri']}@127.0.0.1:1/optuna",
        "PGPASSWORD": PASSWORDS["postgres"],
    }
    good = run("study.train", *TINY, "--epochs", "1", cwd=folder, **settings)
    assert good.returncode == 0, good.stderr
    (folder / "wrong.partial.h5").write_text("no weights")
    flags = ("--weights", "wrong.partial.h5")
    failed = run("study.train", *TINY, *flags, cwd=folder, **settings)
    no_storage = run("study.grid", *TINY, "--epochs", "1", cwd=folder, **settings)
    assert (failed.returncode, no_storage.returncode) == (2, 2)
    assert "does not fit" in failed.stderr
    assert "no Optuna storage" in no_storage.stderr
    assert sorted(found.info.status for found in runs_of(server.client)) == ["FAILED", "FINISHED"]

    written = "".join(done.stdout + done.stderr for done in (good, failed, no_storage)).encode()
    for place in (server.folder, folder, session_cache / "trials", session_cache / "spool"):
        written += b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    assert [name for name, word in PASSWORDS.items() if word.encode() in written] == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg2://me:s3/cret@db/mlflow", "ui --port 5001"),
        ("http://me:s3cret@host:5000", "The runs are on a server: open http://host:5000"),
    ],
)
def test_make_ui_shows_no_password_and_passes_the_address_on(
    tmp_path: Path, address: str, shown: str
) -> None:
    scripts = {
        "python": f'exec {sys.executable} "$@"',
        "mlflow": 'echo "$@"; printf %s "$MLFLOW_BACKEND_STORE_URI" >passed',
    }
    (tmp_path / "bin").mkdir()
    for name, script in scripts.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    environment = os.environ | {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(ROOT)}
    command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), "ui"]
    done = subprocess.run(
        [*command, "PORT=5001", f"VENV={tmp_path}"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == shown
    assert "cret" not in done.stdout + done.stderr
    if not address.startswith("http"):
        assert (tmp_path / "passed").read_text() == address
