"""The rules that docker-compose.yml and deploy/Dockerfile keep."""

import re
import subprocess
from typing import Any

import yaml

from deploy.postgres import find_postgres_program
from tests.support.commands import ROOT

SERVERS = ("postgres", "mlflow", "dashboard")
COMPOSE = (ROOT / "docker-compose.yml").read_text()


def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(COMPOSE)["services"])


def test_images_are_pinned_by_tag() -> None:
    images = [service["image"] for service in services().values()]
    froms = re.findall(r"^FROM (\S+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 5
    assert [name for name in froms if name != "base"] == ["python:3.11.13-slim-bookworm"]
    assert all(re.fullmatch(r"[\w-]+:\d+\.\d+[\w.-]*", image) for image in images)


def test_docker_image_installs_what_the_lock_pins() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    wanted = re.search(r"pip install -c requirements-dev.lock \\\n\s+(.*)", text)
    lock = (ROOT / "requirements-dev.lock").read_text()
    assert wanted is not None
    assert [name for name in wanted[1].split() if f"\n{name}==" not in lock] == []
    assert not re.search(r"^[\w.-]+\[", lock, re.MULTILINE), "pip refuses extras in constraints"


def test_ports_are_bound_to_this_machine_by_default() -> None:
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert ports == {
        "postgres": ["${STUDY_BIND:-127.0.0.1}:${STUDY_POSTGRES_PORT:-5432}:5432"],
        "mlflow": ["${STUDY_BIND:-127.0.0.1}:${STUDY_MLFLOW_PORT:-5000}:5000"],
        "dashboard": ["127.0.0.1:${STUDY_DASHBOARD_PORT:-8080}:8080"],
    }


def test_servers_have_health_checks_and_wait_for_the_password_check() -> None:
    found = services()
    assert all("test" in found[name]["healthcheck"] for name in SERVERS)
    after = {name: set(service.get("depends_on", ())) for name, service in found.items()}
    assert after["postgres"] == {"check"}
    assert after["mlflow"] == after["dashboard"] == {"postgres"}
    assert found["worker"]["profiles"] == ["workers"]


def test_logs_of_all_services_are_limited() -> None:
    limits = {"max-size": "10m", "max-file": "3"}
    assert [s["logging"]["options"] for s in services().values()] == [limits] * 5


def test_worker_that_fails_is_not_started_again_for_ever() -> None:
    assert services()["worker"]["restart"] == "on-failure:5"


def test_data_is_on_named_volumes() -> None:
    named = set(yaml.safe_load(COMPOSE)["volumes"])
    mounts = [mount for service in services().values() for mount in service.get("volumes", ())]
    sources = {re.sub(r"\$\{\w+:-(\w+)\}", r"\1", mount).split(":")[0] for mount in mounts}
    assert sources - named == {"./deploy/databases.sql"}
    assert named <= sources


def test_passwords_in_compose_are_required_variables() -> None:
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "SECRET" in name:
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name


def test_docker_and_native_start_the_same_commands() -> None:
    commands = {name: services()[name]["command"][:4] for name in ("mlflow", "dashboard")}
    native = (ROOT / "deploy/native.py").read_text()
    postgres = (ROOT / "deploy/postgres.py").read_text()
    assert commands == {n: ["python", "-m", "deploy.serve", n] for n in ("mlflow", "dashboard")}
    assert '[sys.executable, "-m", "deploy.serve", *flags]' in native
    assert services()["postgres"]["command"] == ["postgres", "-c", "max_connections=500"]
    assert '["-c", "max_connections=500"]' in postgres
    version = subprocess.run(
        [find_postgres_program("postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert services()["postgres"]["image"].split(":")[1].split(".")[0] in version
