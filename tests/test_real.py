"""The real command on real chest and blood images, from real ImageNet weights, blood's partial."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from study.data.split import get_report_sizes
from tests.support.commands import client_of
from tests.support.commands import runs_of
from tests.support.commands import succeed_here

pytestmark = pytest.mark.shared

WEIGHTS = {
    "chest": "mobilenet_1_0_224_notop.weights.h5",
    "blood": "inception_v3_notop.partial.weights.h5",
}
FLAGS = {
    "chest": ("--image-size", "64", "--limit", "300"),
    "blood": ("--image-size", "75", "--limit", "120"),
}


@dataclasses.dataclass(frozen=True)
class Trained:
    dataset: str
    run: Run
    output: str  # on stderr
    folder: Path  # of mlflow.db


@pytest.fixture(scope="module", params=["chest", "blood"])
def trained(
    request: pytest.FixtureRequest,
    shared_dir: Path,
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    dataset, folder = request.param, tmp_path_factory.mktemp("real")
    shutil.copy(empty_database, folder / "mlflow.db")
    flags = (
        *("--dataset", dataset, *FLAGS[dataset]),
        *("--weights", str(shared_dir / "weights" / WEIGHTS[dataset])),
        *("--variant", "7", "--epochs", "1", "--batch-size", "16", "--register", "--force"),
    )
    output = succeed_here("study.train", *flags, cwd=folder, DATA_DIR=str(shared_dir / "data"))
    (run,) = runs_of(client_of(folder))
    return Trained(dataset, run, output, folder)


def test_real_trial_finishes_with_its_tags(trained: Trained) -> None:
    tags = trained.run.data.tags
    assert trained.run.info.status == "FINISHED"
    assert tags["finished"] == "true"
    assert (tags["dataset"], tags["variant"]) == (trained.dataset, "7")
    kinds = {"chest": "imagenet", "blood": "partial"}  # by their tensors; by the file's name
    assert tags["weights_kind"] == kinds[trained.dataset]
    assert len(tags["weights_digest"]) == 64
    backbone = {"chest": "mobilenet", "blood": "inception_v3"}[trained.dataset]
    assert trained.run.data.params["backbone"] == backbone
    assert trained.run.data.params["lr"] == "0.0001"


def test_real_trial_with_a_limit_keeps_the_shares_of_the_split(trained: Trained) -> None:
    sizes = trained.run.data.tags["sizes"]
    train, val, test = (int(size) for size in sizes.split("/"))
    limit = int(FLAGS[trained.dataset][-1])
    assert train + val + test == pytest.approx(limit, abs=6)
    assert train / limit == pytest.approx(0.64, abs=0.03)
    assert test / limit == pytest.approx(0.20, abs=0.03)
    report = "/".join(str(size) for size in get_report_sizes(trained.dataset, "pooled"))
    assert f"split {sizes} (train/val/test) differs from the report's {report}" in trained.output


def test_real_registered_model_predicts_as_the_run_did(
    trained: Trained, shared_dir: Path, tmp_path: Path
) -> None:
    recorded = client_of(trained.folder).download_artifacts(
        trained.run.info.run_id, "predictions.parquet", str(tmp_path)
    )
    expected = pd.read_parquet(recorded).query("split == 'test'").set_index("image").sort_index()
    (root,) = {
        path.parents[image.count("/")]
        for image in expected.index[:1]
        for path in (shared_dir / "data").rglob(image)
    }
    images = tmp_path / "images"
    for image in expected.index:
        (images / image).parent.mkdir(parents=True, exist_ok=True)
        (images / image).symlink_to(root / image)
    flags = ("--model", f"models:/{trained.dataset}@best", "--out", str(tmp_path / "out.csv"))
    succeed_here("study.predict", *flags, str(images), cwd=trained.folder)
    found = pd.read_csv(tmp_path / "out.csv").set_index("image")
    assert list(found.index) == list(expected.index)
    columns = [name for name in expected if name.startswith("p_")]
    assert np.ptp(expected[columns].to_numpy(), axis=0).max() > 1e-3  # they do differ
    np.testing.assert_allclose(found[columns], expected[columns], atol=1e-4)


def test_real_trial_counts_siblings_in_train(trained: Trained) -> None:
    assert int(trained.run.data.tags["leak"].split("/")[0]) > 0


def test_real_trial_has_figures_in_their_ranges(trained: Trained) -> None:
    figures = trained.run.data.metrics
    assert 0 <= figures["test_accuracy"] <= 1
    assert 0 < figures["test_loss"] < 17
    assert figures["epochs_run"] == 1
    assert figures["images_per_second"] > 0
