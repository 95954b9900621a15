"""Which GPUs CUDA_VISIBLE_DEVICES shows, as CUDA reads it."""

from pathlib import Path

import pytest

from study.workers import gpus
from study.workers.gpus import list_gpus

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
MIG = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a machine's GPUs, which has none yet."""
    monkeypatch.setattr(gpus, "INSTALLED", tmp_path / "gpus")
    monkeypatch.setattr(gpus, "DRIVERS", (tmp_path / "driver",))
    return tmp_path


def install_gpus(folder: Path, count: int) -> None:
    """Add a machine's GPUs to its folder."""
    for number in range(count):
        (folder / "gpus" / f"0000:0{number}:00.0").mkdir(parents=True)


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["0", "1", "2"]),
        ("0,1", ["0", "1"]),
        ("2,0", ["2", "0"]),
        (" 0 , 1 ", ["0", "1"]),
        ("01", ["1"]),
        (UUID, [UUID]),
        (f"{UUID}, {MIG}", [UUID, MIG]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("none", []),
        ("void", []),
        ("NoDevFiles", []),
        ("GPU-", []),
        (",0", []),
        ("0,-1,1", ["0"]),
        ("0,none", ["0"]),
        ("0,,1", ["0"]),
        ("1,3,0", ["1"]),
        ("0,1,0", []),
    ],
)
def test_list_gpus_reads_the_setting_as_cuda_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, names: list[str]
) -> None:
    install_gpus(folder, 3)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_gpus() == names


@pytest.mark.parametrize("visible", [None, "0", UUID])
def test_list_gpus_without_a_driver_finds_none(
    folder: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_gpus() == []


def test_list_gpus_with_an_unknown_number_of_them_trusts_the_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "driver").write_text("")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert list_gpus() == ["5"]
