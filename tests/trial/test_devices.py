"""A run names every device that trained it."""

import platform
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study.config.trial_config import recipe
from study.job import Options
from study.training import runtime
from study.trial.devices import DEVICES_FILE
from study.trial.devices import join_tags
from study.trial.devices import read_devices
from study.trial.devices import save_devices
from study.trial.train_config import train_config

CONFIG = recipe("demo").replace(
    image_size=32, alpha=0.25, weights="none", limit=60, batch_size=16, epochs=3
)


def train_on(device: str, machine: str, pause_after_epoch: int, patch: pytest.MonkeyPatch) -> str:
    """Train the config further on a device of this name; the id of its run."""
    patch.setattr(runtime, "_read_device_name", lambda _: device)
    patch.setattr(platform, "node", lambda: machine)
    return train_config(CONFIG, Options(pause_after_epoch=pause_after_epoch)).run_id


def test_run_resumed_on_another_device_names_both_in_order(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    run_id = train_on("NVIDIA H100", "rented", 1, monkeypatch)
    tags = client.get_run(run_id).data.tags
    assert (tags["device"], tags["machine"]) == ("NVIDIA H100", "rented")
    # no epoch is left for this one, so it does not count once another goes on
    assert train_on("AMD EPYC", "rented", 1, monkeypatch) == run_id
    assert train_on("Intel Xeon", "own", 2, monkeypatch) == run_id
    tags = client.get_run(run_id).data.tags
    assert (tags["device"], tags["machine"]) == ("NVIDIA H100, then Intel Xeon", "rented, then own")
    assert train_on("Intel Xeon", "own", 0, monkeypatch) == run_id
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["device"] == "NVIDIA H100, then Intel Xeon"
    assert run.data.tags["machine"] == "rented, then own"
    assert run.data.tags["keras_version"] == tags["keras_version"]
    assert "then" not in tags["keras_version"]


def test_join_tags_says_where_a_tag_was_missing() -> None:
    devices = [{"device": "a", "rounding_settings": "X=1"}, {"device": "b"}, {"device": "a"}]
    assert join_tags(devices) == {
        "device": "a, then b, then a",
        "rounding_settings": "X=1, then none",
    }


def test_join_tags_of_one_device_are_its_own() -> None:
    assert join_tags([{"device": "a"}]) == {"device": "a"}
    assert join_tags([{"device": "a"}] * 2) == {"device": "a"}


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": 1}'])
def test_damaged_file_of_devices_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / DEVICES_FILE).write_text(content)
    assert read_devices(tmp_path) == []
    save_devices(tmp_path, [{"device": "a"}])
    assert read_devices(tmp_path) == [{"device": "a"}]
