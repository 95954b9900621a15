"""The files around the code agree with each other and with it."""

import ast
import dataclasses
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from mlflow.projects._project_spec import load_project
from mlflow.projects.env_type import CONDA
from mlflow.utils.environment import _PythonEnv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from study.config.trial_config import TrialConfig

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
PYTHONS = ("3.11", "3.12", "3.13")

GETTERS = {"os.environ.get", "os.getenv", "read_setting", "read_folder", "_read_address"}
# Read by the code, but set by `mlflow run`, by the programs themselves, or by the tests.
NOT_FOR_USERS = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS"}
# Named in `.env.example`, but read by the libraries.
READ_BY_LIBRARIES = re.compile(r"MLFLOW_|KERAS_BACKEND$|PGPASSWORD$")


def pins(lines: list[str]) -> dict[str, str]:
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def pyproject_pins() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return pins(project["dependencies"])


def lock_pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    packages = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(pins(packages)) == len(packages), "a package has two versions"
    return pins(packages)


def checkout() -> list[Path]:
    """The files that are or would be committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def test_direct_dependencies_are_pinned_exactly() -> None:
    assert all(re.fullmatch(r"==[\w.]+", version) for version in pyproject_pins().values())


def test_conda_yaml_carries_the_pins_of_pyproject() -> None:
    constraint, *packages = _PythonEnv.from_conda_yaml(ROOT / "conda.yaml").dependencies
    assert constraint == "-c requirements.lock"
    assert pins(packages) == pyproject_pins()


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_carries_the_pins_of_pyproject(lock: str) -> None:
    assert pyproject_pins().items() <= lock_pins(lock).items()


def test_dev_lock_holds_the_runtime_lock_and_the_tools() -> None:
    assert lock_pins(LOCKS[0]).items() <= lock_pins(LOCKS[1]).items()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pins(pyproject["dependency-groups"]["dev"]).keys() <= lock_pins(LOCKS[1]).keys()
    extras = pyproject["project"]["optional-dependencies"]
    assert pins(extras["ray"]).items() <= lock_pins(LOCKS[1]).items()


def test_conda_python_is_among_the_supported_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = Requirement(f"python {project['requires-python']}").specifier
    assert all(f"{version}.0" in supported for version in PYTHONS)
    assert _PythonEnv.from_conda_yaml(ROOT / "conda.yaml").python in PYTHONS


def test_mlproject_entry_points_run_train_and_grid_without_declared_parameters() -> None:
    project = load_project(ROOT)
    assert project.env_type == CONDA
    assert Path(project.env_config_path) == ROOT / "conda.yaml"
    for name, module in (("main", "study.train"), ("grid", "study.grid")):
        assert project.get_entry_point(name).command == f"python -m {module}"
        assert project.get_entry_point(name).parameters == {}


def test_mlproject_lists_every_parameter() -> None:
    comment = re.findall(r"^#   (.*)", (ROOT / "MLproject").read_text(), re.MULTILINE)
    fields = [field.name for field in dataclasses.fields(TrialConfig)]
    further = [
        "sweep",
        "baseline",
        "seeds",
        "budget",
        "workers",
        "engine",
        "ray_address",
        "gpus_per_trial",
    ]  # of the grid
    assert sorted(" ".join(comment).split()) == sorted([*fields, "variant", *further])


def test_no_file_names_a_package_index() -> None:
    # In pieces, so that this file is not the one that names them
    hosts = ["py{}pi.org", "python{}hosted.org", "npm{}js.org", "conda.{}anaconda.org"]
    options = ["--index{}-url", "--extra{}-index-url", "--find{}-links", "--trusted{}-host"]
    names = [re.escape(text.format("")) for text in hosts + options]
    forbidden = re.compile("|".join(names).encode())
    assert [str(path) for path in checkout() if forbidden.search(path.read_bytes())] == []


def test_every_make_target_is_documented_and_listed() -> None:
    rules = re.findall(r"^([a-z][\w-]*):(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [target for target, rest in rules if "## " not in rest] == []
    command = ["make", "--no-print-directory"]  # or make says so, if make runs the tests
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [line.split()[0] for line in listing.splitlines()] == [target for target, _ in rules]


def test_every_make_target_is_phony() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE)
    assert re.search(r"^\.PHONY: (.*)", text, re.MULTILINE)[1].split() == targets  # type: ignore[index]


def test_make_ui_installs_nothing_where_mlflow_is_there(tmp_path: Path) -> None:
    command = ["make", "--no-print-directory", "-n", "ui", "PORT=5001", f"VENV={tmp_path}"]

    def list_steps() -> str:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert "Installing" in list_steps()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mlflow").touch()
    assert "Installing" not in list_steps()
    assert "http://127.0.0.1:5001/" in list_steps()
    assert "--port 5001" in list_steps()


def test_make_help_does_not_depend_on_the_folder() -> None:
    command = ["make", "--no-print-directory", "-C", str(ROOT), "help"]
    assert "demo" in subprocess.run(command, cwd="/", capture_output=True, text=True).stdout


def environment_variables_read(path: Path) -> Iterator[str]:
    """Names given to one of `GETTERS` or to `os.environ[...]`, constants resolved.

    Names in loop variables (settings put aside for a while) are left out.
    """
    tree = ast.parse(path.read_text())
    constants = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=function, args=[key, *_]) if ast.unparse(function) in GETTERS:
                pass
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=key, ctx=ast.Load()):
                pass
            case _:
                continue
        key = constants.get(ast.unparse(key), key)
        if isinstance(key, ast.Constant):
            yield str(key.value)


def test_env_example_names_every_variable_with_a_comment() -> None:
    packages = ("study", "pipelines", "deploy")
    files = [path for package in packages for path in ROOT.glob(f"{package}/**/*.py")]
    read = {name for path in files for name in environment_variables_read(path)} - NOT_FOR_USERS
    read |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    paragraphs = (ROOT / ".env.example").read_text().split("\n\n")
    named = {
        name: paragraph
        for paragraph in paragraphs
        for name in re.findall(r"^# ([A-Z_]+)=", paragraph, re.MULTILINE)
    }
    assert read <= named.keys()
    assert {name for name in named if not READ_BY_LIBRARIES.match(name)} <= read
    assert all(re.match(r"# \w+ ?\w+", paragraph) for paragraph in named.values())


def test_pre_commit_hooks_need_no_repository() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    assert all(hook["language"] == "system" for hook in config["repos"][0]["hooks"])
