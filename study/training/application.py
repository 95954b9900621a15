"""Build a backbone of keras.applications with the weights that a config names."""

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study.common.errors import first_line
from study.common.errors import StudyError
from study.config.backbones import BACKBONES
from study.config.trial_config import TrialConfig
from study.training.lean_keras import keras
from study.weights import digest_weights
from study.weights import find_keras_ending
from study.weights import find_published_weights

APPLICATIONS = {
    "mobilenet": keras.applications.MobileNet,
    "inception_v3": keras.applications.InceptionV3,
    "xception": keras.applications.Xception,
    "resnet50": keras.applications.ResNet50,
    "vgg16": keras.applications.VGG16,
}


def build_application(config: TrialConfig) -> keras.Model:
    """Build the backbone of keras.applications with the weights that the config names."""
    shape = (config.image_size, config.image_size, 3)
    options: dict[str, Any] = {"include_top": False, "input_shape": shape}
    if config.backbone == "mobilenet":
        options["alpha"] = config.alpha
    try:
        with warnings.catch_warnings(), _provide_weights(config.weights) as weights:
            warnings.simplefilter("ignore")  # MobileNet warns of sizes other than 128 to 224
            model = APPLICATIONS[config.backbone](weights=weights, **options)
    except Exception as error:
        raise StudyError(_explain_weights_error(config, error)) from error
    if config.weights == "imagenet":
        _check_download(config, model)
    return model


@contextlib.contextmanager
def _provide_weights(weights: str) -> Iterator[str | None]:
    """Yield what Keras takes for the weights of a config.

    Keras knows a file's layout by its ending alone. A file with the ending of the other layout is
    copied for as long as it is read.
    """
    if weights in ("imagenet", "none"):
        yield None if weights == "none" else weights
        return
    ending = find_keras_ending(Path(weights))
    if weights.endswith(ending) and weights.endswith(".weights.h5") == (ending == ".weights.h5"):
        yield weights
        return
    with tempfile.TemporaryDirectory() as folder:
        yield str(shutil.copyfile(weights, Path(folder, f"weights{ending}")))


def _check_download(config: TrialConfig, model: keras.Model) -> None:
    """Compare what Keras downloaded with the published weights, where they are known.

    Raises:
        StudyError: they differ.
    """
    expected = find_published_weights(config.backbone, config.alpha)
    if expected is None or digest_weights(model.get_weights()) == expected.digest:
        return
    title = BACKBONES[config.backbone].title
    raise StudyError(
        f"Keras' ImageNet weights of {title} are not the published ones: delete the file in the "
        "folder models of ~/.keras (or KERAS_HOME),\nso that Keras downloads it again, or use it "
        "as a weights file: --weights FILE"
    )


def _explain_weights_error(config: TrialConfig, error: Exception) -> str:
    """Return a message that says why the weights cannot be used."""
    title = BACKBONES[config.backbone].title
    reason = first_line(error)
    if config.weights == "imagenet":
        return (
            f"cannot fetch Keras' ImageNet weights of {title}: {reason}\n"
            "Connect to the network once, give a weights file (--weights FILE), or train from "
            "scratch (--weights none)."
        )
    return f"weights file {config.weights} does not fit {title}: {reason}"
