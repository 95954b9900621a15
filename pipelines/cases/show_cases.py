"""Make the page of a run's cases, with heat maps, and store it."""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from pipelines.cases.page import CasesView
from pipelines.cases.page import render_cases
from pipelines.cases.selection import build_cases
from pipelines.cases.selection import select_hits
from pipelines.cases.selection import select_mistakes
from pipelines.page.files import write_text
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.one_run import read_run
from pipelines.runs.read_runs import connect_reader
from study.common.errors import DataError
from study.common.errors import StudyError
from study.common.paths import check_outside
from study.common.progress import Progress
from study.common.settings import keras_backend
from study.config.backbones import BACKBONES
from study.config.dataset_names import resolve_dataset
from study.data.names import escape_name
from study.data.prepare import Data
from study.data.prepare import list_recorded_digests
from study.data.prepare import prepare
from study.statistics.predictions import PREDICTIONS_FILE
from study.tracking.failures import describe_error
from study.tracking.failures import mlflow_errors_as_study_errors
from study.workers.local import LocalWorker

MODEL = "model/data/model.keras"  # where MLflow puts a Keras model among a run's artifacts


class CasesError(StudyError):
    """A failure to get the run's files, images or heat maps, or to store the page."""


def show_cases(run_id: str, dataset: str | None, count: int, out: Path | None) -> None:
    """Build the page of a run's cases, and store it in a folder and in the run.

    Args:
        run_id: of a finished run, or its beginning.
        dataset: the run's images, or None if they are where they were.
        count: number of cases of each kind.
        out: the folder to write to, or None for `exports/cases-ID`.

    Raises:
        StudyError: MLflow cannot be read, these are not the images of the run, or the folder
            cannot be written.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    client = connect_reader()
    run = read_run(client, run_id)
    place = resolve_dataset(dataset or run.config.dataset)
    check_outside(out, place)
    view = build_view(client, run, place, count)
    folder = out or Path("exports", f"cases-{run.run_id[:8]}")
    _store_page(client, run.run_id, render_cases(view), folder)
    if view.no_heat_reason:
        print(f"no heat maps: {view.no_heat_reason}")
    print(f"cases.html is in {folder}, and in the run's artifacts under cases")


def build_view(client: MlflowClient, run: FinishedRun, dataset: str, count: int) -> CasesView:
    """Collect what a run's page shows, with up to `count` cases of each kind.

    `dataset` names the images that the run was trained on, wherever they are now.

    Raises:
        StudyError: MLflow cannot be read, or these are not the images of the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        predictions = pd.read_parquet(_download(run.run_id, PREDICTIONS_FILE, folder))
        data = _prepare_images(run, dataset)
        row_by_image = _index_images(data.images)
        groups = data.groups or ()
        group_of = {image: groups[row] for image, row in row_by_image.items() if groups}
        cases = build_cases(predictions, group_of)
        selected = select_mistakes(cases)[:count] + select_hits(cases)[:count]
        pixels = {case.image: np.asarray(data.x[row_by_image[case.image]]) for case in selected}
        classes = [data.classes.index(case.predicted) for case in selected]
        try:
            maps = _compute_heat_maps(client, run, list(pixels.values()), classes, folder)
        except StudyError as error:
            return CasesView(run, cases, count, pixels, {}, str(error))
    return CasesView(run, cases, count, pixels, dict(zip(pixels, maps, strict=True)), "")


def _index_images(images: Sequence[str]) -> dict[str, int]:
    """Return the row of each image, by its name and by its escaped name."""
    # names as they are stand in the predictions of early runs
    rows = {image: row for row, image in enumerate(images)}
    return rows | {escape_name(image): row for image, row in rows.items()}


def _prepare_images(run: FinishedRun, dataset: str) -> Data:
    """Return the images that a run was trained on, recognized by their digest."""
    advice = "name the folder that they are in now with --dataset folder:PATH"
    try:
        digests = list_recorded_digests(dataset)
    except DataError as error:
        raise CasesError(f"no images of run {run.run_id}: {error}, or {advice}") from error
    if run.data_digest not in digests:
        raise CasesError(
            f"the images of {dataset} on this machine are not those of run {run.run_id}: some were "
            f"added, removed or changed. Put the original ones back, or {advice}"
        )
    return prepare(dataset, run.config.image_size, progress=Progress().step)


@mlflow_errors_as_study_errors()
def _download(run_id: str, path: str, folder: str) -> Path:
    try:
        return Path(
            mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=folder)
        )
    except OSError as error:
        raise CasesError(f"cannot read {path} of run {run_id}: {describe_error(error)}") from error


def _compute_heat_maps(
    client: MlflowClient,
    run: FinishedRun,
    images: Sequence[NDArray[np.uint8]],
    classes: Sequence[int],
    folder: str,
) -> NDArray[np.float32]:
    """Return heat maps (n, h, w), 0 to 1, of n images for one class each.

    `classes` holds the index of the class to explain in each image. The model's file goes into
    `folder`.

    Raises:
        StudyError: there are none, for the reason that its message gives.
    """
    if not _has_model(client, run.run_id):
        raise CasesError(
            "the run has no model: train it again with --log-model --again, and give the ID of the "
            "new run"
        )
    file = _download(run.run_id, MODEL, folder)
    # Keras is loaded in the worker's process, never in this one
    with contextlib.closing(LocalWorker({"KERAS_BACKEND": keras_backend()})) as worker:
        maps: NDArray[np.float32] = worker.call(
            "study.training.gradcam:compute_heat_maps_of_file", file, np.stack(images), classes
        )
    if maps.shape[1:] == (1, 1):
        size = run.config.image_size
        backbone = BACKBONES[run.config.backbone].title
        raise CasesError(
            f"{backbone} turns {size} x {size} pixels into a single cell, so a heat map cannot "
            "show a place: train with a larger --image-size"
        )
    return maps


@mlflow_errors_as_study_errors()
def _has_model(client: MlflowClient, run_id: str) -> bool:
    outputs = client.get_run(run_id).outputs
    return bool(outputs and outputs.model_outputs)


def _store_page(client: MlflowClient, run_id: str, page: str, out: Path) -> None:
    """Write the page into the folder `out` and log it as an artifact of the run."""
    file = write_text(out, "cases.html", page)
    try:
        with mlflow_errors_as_study_errors():
            client.log_artifact(run_id, str(file), "cases")
    except OSError as error:
        raise CasesError(
            f"{file} is written, but not stored in the run: {describe_error(error)}"
        ) from error
