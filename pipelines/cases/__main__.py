"""Show a finished run's most confident mistakes and its least confident hits, with heat maps.

    python -m pipelines.cases --run 0f3a...

Writes cases.html, a self-contained page, and puts it into the run at MLflow, folder `cases`. It
needs the images that the run was trained on, and for heat maps a run trained with --log-model.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from pipelines.cases.page import html_text
from pipelines.cases.page import Shown
from pipelines.cases.selection import cases_of
from pipelines.cases.selection import hits
from pipelines.cases.selection import mistakes
from pipelines.runs.finished import FinishedRun
from pipelines.runs.finished import reader
from pipelines.runs.one_run import read_run
from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import StudyError
from study.common.progress import Progress
from study.config import BACKBONES
from study.data.prepare import Data
from study.data.prepare import data_digest
from study.data.prepare import prepare
from study.tracking.connection import reason
from study.tracking.connection import talking
from study.workers.local import Worker

MODEL = "model/data/model.keras"  # as MLflow lays a Keras model out


class CasesError(StudyError):
    """The run's files or images are not to be had, or the page cannot be stored."""


def main() -> None:
    """Parse the flags, read, draw, write."""
    parser = Parser(__doc__ or "", "pipelines.cases")
    parser.add_argument("--run", required=True, metavar="ID", help="of a finished run, at MLflow")
    parser.add_argument(
        "--count", type=_count, default=12, metavar="N", help="cases of each kind [default: 12]"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="folder to write to [default: exports/cases-ID]"
    )
    args = parser.parse_args()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    client = reader()
    shown = build(client, args.run, args.count)
    out = args.out or Path("exports", f"cases-{args.run[:8]}")
    _store(client, args.run, html_text(shown), out)
    if shown.no_heat:
        print(f"no heat maps: {shown.no_heat}")
    print(f"cases.html is in {out}, and in the run's artifacts under cases")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise StudyError(f"count={text} is out of range: use 1 to 1000")
    return int(text)


def build(client: MlflowClient, run_id: str, count: int) -> Shown:
    """What the page of a run shows, with up to `count` cases of each kind.

    Raises:
        StudyError: no such finished run, MLflow cannot be read, or its images are not here.
    """
    run = read_run(client, run_id)
    with tempfile.TemporaryDirectory() as folder:
        predictions = pd.read_parquet(_download(run_id, "predictions.parquet", folder))
        data = _images_of(run)
        cases = cases_of(predictions, dict(zip(data.images, data.groups or (), strict=False)))
        some = mistakes(cases)[:count] + hits(cases)[:count]
        row_of = {image: row for row, image in enumerate(data.images)}
        pixels = {case.image: np.asarray(data.x[row_of[case.image]]) for case in some}
        classes = [data.classes.index(case.predicted) for case in some]
        try:
            maps = _heat_maps(client, run, list(pixels.values()), classes, folder)
        except StudyError as error:
            return Shown(run, cases, count, pixels, {}, str(error))
    return Shown(run, cases, count, pixels, dict(zip(pixels, maps, strict=True)), "")


def _images_of(run: FinishedRun) -> Data:
    dataset = run.config.dataset
    if data_digest(dataset) != run.data_digest:
        raise CasesError(
            f"the images of {dataset} here are not those of run {run.run_id}: some were added, "
            "removed or changed. Put those it was trained on in their place."
        )
    return prepare(dataset, run.config.image_size, progress=Progress().step)


@talking()
def _download(run_id: str, path: str, folder: str) -> Path:
    try:
        return Path(
            mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=folder)
        )
    except OSError as error:
        raise CasesError(f"cannot read {path} of run {run_id}: {reason(error)}") from error


def _heat_maps(
    client: MlflowClient,
    run: FinishedRun,
    images: Sequence[NDArray[np.uint8]],
    classes: Sequence[int],
    folder: str,
) -> NDArray[np.float32]:
    """(n, h, w), 0 to 1; a StudyError says why there are none."""
    if not _has_model(client, run.run_id):
        raise CasesError(
            "the run holds no model; train it once more with --log-model --again, and name that run"
        )
    file = _download(run.run_id, MODEL, folder)
    with contextlib.closing(Worker()) as worker:  # Keras stays out of this process
        maps: NDArray[np.float32] = worker.call(
            "study.training.gradcam:heat_maps_of", file, np.stack(images), classes
        )
    if maps.shape[1:] == (1, 1):
        size, backbone = run.config.image_size, BACKBONES[run.config.backbone].title
        raise CasesError(
            f"of {size} x {size} pixels {backbone} makes a single cell, which shows no place; "
            "train with a larger --image-size"
        )
    return maps


@talking()
def _has_model(client: MlflowClient, run_id: str) -> bool:
    outputs = client.get_run(run_id).outputs
    return bool(outputs and outputs.model_outputs)


def _store(client: MlflowClient, run_id: str, page: str, out: Path) -> None:
    file = out / "cases.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        file.write_bytes(page.encode())
    except OSError as error:
        raise CasesError(
            f"cannot write to {out}: {error.strerror or error}; name another folder with --out"
        ) from error
    try:
        with talking():
            client.log_artifact(run_id, str(file), "cases")
    except OSError as error:
        raise CasesError(
            f"{file} is written, but not stored in the run: {reason(error)}"
        ) from error


if __name__ == "__main__":
    sys.exit(run_command(main))
