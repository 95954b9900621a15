"""Classify a folder's images with a model of the registry."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import FLAVOR_NAME
from numpy.typing import NDArray

from study.common.command import quiet_stderr
from study.common.errors import StudyError
from study.common.progress import Progress
from study.common.settings import keras_backend
from study.common.settings import tracking_uri
from study.data.digest import explain_unreadable
from study.data.directory import list_tree
from study.data.directory import ListedTree
from study.data.directory import USUAL_ENDINGS
from study.data.intact import BadImage
from study.data.names import escape_name
from study.data.parallel import map_in_threads
from study.tracking import connection
from study.tracking import failures

if TYPE_CHECKING:
    from study.serving.classifier import Classifier

BATCH_SIZE = 128  # images in memory at a time


def predict(model: str, folder: Path, out: Path, progress: Progress) -> None:
    """Classify all images under `folder`, and write the classes to `out`.

    Args:
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/ID/model`, or a folder.
        folder: of images, searched with all its subfolders.
        out: a CSV file, replaced if it exists.
        progress: prints what was done.

    Raises:
        StudyError: there is no such model, no image, or no way to write the file.
    """
    images, notes = _list_images(folder)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise StudyError(f"cannot write {out}: name a file in a folder that exists")
    with tempfile.TemporaryDirectory() as temporary:
        classifier = _load_classifier(model, temporary)
    for note in notes:
        progress.say(f"  {note}")
    table, unreadable = _classify_images(classifier, folder, images, progress)
    for image, reason in unreadable:
        progress.say(f"  skipped {escape_name(image)}: {reason}")
    if table.empty:
        raise StudyError(f"none of the {len(images)} images in {folder} can be read")
    rows = [(escape_name(image), reason) for image, reason in unreadable]
    errors = pd.DataFrame(rows, columns=["image", "error"])
    try:
        pd.concat([table, errors]).sort_values("image").to_csv(out, index=False)
    except OSError as error:
        raise StudyError(f"cannot write {out} ({error.strerror}): give another --out") from None
    classified = "1 image" if len(table) == 1 else f"{len(table)} images"
    progress.say(f"{classified} classified, {len(unreadable)} skipped: see {out}")


def _list_images(folder: Path) -> ListedTree:
    if not folder.is_dir():
        raise StudyError(f"no folder at {folder}: give a folder of images")
    listed = list_tree(folder)
    if not listed.images:
        raise StudyError(f"no image in {folder}: put some there ({', '.join(USUAL_ENDINGS)})")
    return listed


def _load_classifier(uri: str, folder: str) -> "Classifier":
    """Load the model at a URI, using only its weights and class names, never its code."""
    if not Path(uri).is_dir():
        connection.connect()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        model_folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
        flavor = Model.load(model_folder).flavors[FLAVOR_NAME]
        classes = flavor["config"]["classes"]
        weights_file = Path(model_folder, flavor["data"])
    except (KeyError, TypeError):
        raise StudyError(f"{uri} is not a model of this study: --register makes one") from None
    except (MlflowException, OSError) as error:
        place = failures.redact_credentials(tracking_uri())
        reason = failures.describe_error(error)[:150]
        raise StudyError(f"no model {uri} at {place} ({reason}): --register makes one") from None
    os.environ["KERAS_BACKEND"] = keras_backend()  # else Keras asks keras.json
    with quiet_stderr():
        from study.serving.classifier import Classifier
    try:
        return Classifier(str(weights_file), classes)
    except Exception as error:  # whatever Keras raises
        raise StudyError(
            f"cannot load model {uri} on this machine: {failures.describe_error(error)}"
        ) from error


def _classify_images(
    classifier: "Classifier", folder: Path, images: Sequence[str], progress: Progress
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Classify images in batches.

    Returns:
        A table with the columns image, predicted (likeliest class) and `p_<class>` for each class,
        and the unreadable images with the reasons.
    """

    def read(image: str) -> NDArray[np.uint8] | str:
        if reason := explain_unreadable(folder / image):
            return reason
        try:
            return classifier.pixels((folder / image).read_bytes())
        except OSError as error:
            return error.strerror or "cannot be read"
        except BadImage as error:
            return str(error)

    tables = [pd.DataFrame()]
    unreadable: list[tuple[str, str]] = []
    pixels: dict[str, NDArray[np.uint8]] = {}
    results = map_in_threads(read, images, "reading", progress.step)
    for image, result in zip(images, results, strict=True):
        if isinstance(result, str):
            unreadable.append((image, result))
        else:
            pixels[image] = result
        if len(pixels) >= BATCH_SIZE:
            tables.append(_classify_batch(classifier, pixels))
            pixels.clear()
    tables.append(_classify_batch(classifier, pixels))
    return pd.concat(tables, ignore_index=True), unreadable


def _classify_batch(classifier: "Classifier", pixels: dict[str, NDArray[np.uint8]]) -> pd.DataFrame:
    if not pixels:
        return pd.DataFrame()
    table = classifier.predict_pixels(np.stack(list(pixels.values())))
    likeliest = table.idxmax(axis="columns")
    table = table.add_prefix("p_")
    table.insert(0, "image", [escape_name(image) for image in pixels])
    table.insert(1, "predicted", likeliest)
    return table
