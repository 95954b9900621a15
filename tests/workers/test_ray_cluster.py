"""Work on a real Ray cluster: three nodes on this machine, two of them with a core."""

import dataclasses
import json
import os
import pickle
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient

from study.common.errors import ConfigError
from study.common.errors import DataError
from study.common.errors import Pruned
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.errors import WorkerDied
from study.config.fingerprint import fingerprint
from study.config.fingerprint import PROTOCOL_VERSION
from study.data.prepare import compute_data_digest
from study.workers import ray_cluster
from study.workers.ray_cluster import RayWorker
from study.workers.ray_machines import connect
from study.workers.ray_machines import load_ray
from tests.support.commands import client_of
from tests.support.commands import finish
from tests.support.commands import history_of
from tests.support.commands import ROOT
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import wait_until
from tests.support.ray_tasks import tiny

try:
    load_ray()  # before Ray is imported by anything else: it sets what Ray then reads
    from ray.cluster_utils import Cluster
except StudyError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("the package ray is not installed", allow_module_level=True)

EPOCHS = 16  # enough that the node is killed in time
SECRET = "only-the-driver-knows-0815"
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster(session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head without cores, which the drivers are on, and two nodes with one each."""
    short = tempfile.mkdtemp(prefix="ray")  # the names of sockets may have some 100 characters
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", short)  # nor does it touch a cluster that you may have
        patch.chdir(tmp_path_factory.mktemp("nodes"))  # there is no .env
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("STUDY_CACHE", str(session_cache))
        head = NODE | {"num_cpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(**NODE)
        yield cluster
        load_ray().shutdown()
        cluster.shutdown()
    shutil.rmtree(short)


@pytest.fixture(scope="module")
def folder(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def worker(cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayWorker]:
    for name, value in settings(folder).items():
        monkeypatch.setenv(name, value)
    connect(cluster.address)
    with closing(RayWorker()) as worker:
        yield worker


def settings(folder: Path) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PGPASSWORD": SECRET}


def trials_on(node: Any) -> list[psutil.Process]:
    """The processes of trials on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [child for child in raylet.children() if is_trial(child)]


def is_trial(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] == ["ray::trial"]
    except psutil.Error:  # it has just ended
        return False


def state_of(seed: int) -> Path:
    """The folder of a trial's training state."""
    key = fingerprint(tiny(EPOCHS, seed), compute_data_digest("demo"))
    return Path(os.environ["STUDY_CACHE"]).resolve() / "trials" / key


def has_begun(seed: int) -> bool:
    return (state_of(seed) / "state.npz").exists()  # after its first epoch


def node_of(cluster: Cluster, seed: int) -> Any:
    """The node on which a trial runs: where a process has its lock."""
    lock = f"{state_of(seed)}.lock"
    trials = [(node, trial) for node in cluster.worker_nodes for trial in trials_on(node)]
    (node,) = (node for node, trial in trials if lock in {file.path for file in trial.open_files()})
    return node


@dataclasses.dataclass(frozen=True)
class Story:
    """What happened: two trials at once, each on a node, and one node killed in the middle."""

    client: MlflowClient
    output: list[str]  # lines of the driver
    room: int
    run_ids: list[str]
    loaded: list[str]  # of Keras and TensorFlow, by the driver


@pytest.fixture(scope="module")
def story(cluster: Cluster, folder: Path) -> Story:
    flags = (cluster.address, str(EPOCHS), "1", "2")
    driver = start("tests.support.ray_tasks", *flags, cwd=folder, **settings(folder))
    try:
        wait_until(lambda: all(trials_on(node) for node in cluster.worker_nodes), driver)
        wait_until(lambda: has_begun(1) or has_begun(2), driver)
        lost = node_of(cluster, 1 if has_begun(1) else 2)
        cluster.remove_node(lost, allow_graceful=False)
        done = finish(driver)
    finally:
        driver.kill()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    lines = done.stderr.splitlines()
    return Story(client_of(folder), lines, told["room"], told["runs"], told["loaded"])


def test_ray_cluster_of_two_nodes_has_room_for_two_trials(story: Story) -> None:
    assert story.room == 2


def test_ray_trials_are_one_finished_run_each(story: Story) -> None:
    runs = {run.info.run_id: run for run in runs_of(story.client)}
    assert runs.keys() == set(story.run_ids)
    for seed, run_id in enumerate(story.run_ids, start=1):
        assert runs[run_id].info.status == "FINISHED"
        assert runs[run_id].data.tags["finished"] == "true"
        assert runs[run_id].data.params["seed"] == str(seed)


@pytest.mark.parametrize("name", ["train_loss", "val_accuracy", "epoch_seconds"])
def test_ray_trial_logs_every_epoch_once(story: Story, name: str) -> None:
    for run in runs_of(story.client):
        steps = [step for step, _ in history_of(story.client, run, name)]
        assert sorted(steps) == list(range(1, EPOCHS + 1))


def test_ray_trial_of_a_lost_node_continues_after_its_last_epoch(story: Story) -> None:
    (line,) = (line for line in story.output if "continuing after epoch" in line)
    assert 1 <= int(line.split()[-1]) < EPOCHS


def test_ray_driver_prints_the_lines_of_its_trials_alone(story: Story) -> None:
    assert {line[:6] for line in story.output} == {"[1/2] ", "[2/2] "}
    ends = [line for line in story.output if f"epoch {EPOCHS}/{EPOCHS}" in line]
    assert sorted(line[:6] for line in ends) == ["[1/2] ", "[2/2] "]


def test_ray_driver_does_not_import_keras(story: Story) -> None:
    assert story.loaded == []


def test_ray_call_that_raises_a_study_error_raises_it_here(worker: RayWorker) -> None:
    with pytest.raises(StudyError, match=r"^no room$") as caught:
        worker.call("tests.support.launch_tasks:raise_study_error", "no room")
    assert type(caught.value) is StudyError
    config = tiny(2, 0)
    object.__setattr__(config, "dataset", "folder:/of/another/machine")
    with pytest.raises(DataError) as missing:
        worker.call("study.trial.train_config:train_config", config)
    assert "/of/another/machine" in str(missing.value)


@pytest.mark.parametrize(
    "kind", [StudyError, ConfigError, DataError, Pruned, TrackingError, WorkerDied]
)
def test_study_errors_can_be_pickled(kind: type[StudyError]) -> None:
    back = pickle.loads(pickle.dumps(kind("what to do")))
    assert (type(back), str(back)) == (kind, "what to do")


def test_ray_call_that_kills_its_process_is_given_up(worker: RayWorker, tmp_path: Path) -> None:
    with pytest.raises(WorkerDied, match="failed repeatedly") as caught:
        worker.call("tests.support.ray_tasks:die", str(tmp_path / "deaths"))
    assert "\n" not in str(caught.value)
    deaths = (tmp_path / "deaths").read_text().splitlines()
    assert len(deaths) == 1 + ray_cluster.RETRIES


def test_interrupted_ray_call_ends_with_keyboard_interrupt(
    worker: RayWorker, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    def interrupt() -> None:
        wait_until(told.exists)
        while told.read_text() == "":
            worker.interrupt()
            time.sleep(0.1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        worker.call("tests.support.ray_tasks:sleep_until_interrupted", str(told))
    thread.join()
    assert told.read_text() == "interrupted"
    with pytest.raises(KeyboardInterrupt):
        worker.call("os:getenv", "NOT_SET")


def test_ray_node_of_another_version_is_refused(
    worker: RayWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "PROTOCOL_VERSION", PROTOCOL_VERSION + 1)
    with pytest.raises(StudyError, match="of another version than the driver"):
        worker.call("os:getenv", "PGPASSWORD")


def test_settings_reach_a_ray_call_and_are_in_no_file(worker: RayWorker, cluster: Cluster) -> None:
    assert worker.call("os:getenv", "PGPASSWORD") == SECRET
    with pytest.raises(ValueError, match="a setting of"):
        worker.call("tests.support.ray_tasks:raise_value_error", "PGPASSWORD")
    session = Path(cluster.head_node.get_session_dir_path())
    files = [path for path in session.rglob("*") if path.is_file()]
    assert any("worker" in path.name for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.usefixtures("worker")
def test_ray_gpus_that_no_node_has_are_refused(cluster: Cluster) -> None:
    with pytest.raises(StudyError, match="no machine of the Ray cluster has 1 GPU"):
        connect(cluster.address, gpus=1)
    with pytest.raises(StudyError, match="neither a fraction of one GPU nor a whole number"):
        connect(cluster.address, gpus=1.5)


def test_ray_with_a_file_as_tracking_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("", "sqlite:///mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(StudyError, match="set MLFLOW_TRACKING_URI"):
            connect("auto")


def test_absent_ray_cluster_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    with pytest.raises(StudyError, match=r"^no Ray cluster at 127.0.0.1:1: ") as caught:
        connect("127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_ray_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StudyError, match=r"^--engine ray needs the package ray: pip install ray$"):
        connect("auto")
