"""Write a model card from the MLflow run that trained the model."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlflow.entities import Run

from study.config.backbones import BACKBONES
from study.config.dataset_names import data_name
from study.config.dataset_names import read_name_digest
from study.tracking.run_logger import strip_shell_quotes

if TYPE_CHECKING:
    from study.statistics.intervals import Estimate

MAX_CLASSES = 20  # named in the card
WEIGHTS = {
    "imagenet": "Keras' published ImageNet weights",
    "none": "random weights, not pretrained ones",
    "partial": "a file with only part of the ImageNet weights, the rest random",
    "file": "a weights file that is not one of those Keras publishes",
}
PATHS = ("dataset", "weights")  # params that may name a folder of somebody's machine


def format_card(run: Run, classes: Sequence[str], chosen: str, interval: "Estimate | None") -> str:
    """Return the card in Markdown.

    It says what the model is, on which data it was trained, how good it is, and what limits that.

    Args:
        run: a complete run.
        classes: the names of the model's outputs.
        chosen: why this run was chosen, in a few words.
        interval: of the test accuracy; None if the run's predictions are not available.
    """
    params = run.data.params
    backbone = BACKBONES[params["backbone"]].title
    sections = {
        "Model": _describe_model(run, classes, chosen),
        "Data": _describe_data(run),
        "Results": _describe_results(run, interval),
        "Limits": _describe_limits(run),
    }
    head = [
        f"# {_name_data_of(run)}: {backbone} for {len(classes)} classes",
        "**Not a medical device.** A model from a hyperparameter study, for research and teaching: "
        "not for diagnosis, nor for any decision about a patient.",
    ]
    body = [_format_section(title, lines) for title, lines in sections.items()]
    return "\n\n".join(head + body) + "\n"


def _name_data_of(run: Run) -> str:
    """Return the public name of the data set that a complete run was trained on."""
    dataset = strip_shell_quotes(run.data.params["dataset"])
    return data_name(dataset, read_name_digest(run.data.tags))


def _format_section(title: str, lines: Iterable[str]) -> str:
    bullets = "".join(f"- {line}\n" for line in lines)
    return f"## {title}\n\n{bullets.rstrip()}"


def _describe_model(run: Run, classes: Sequence[str], chosen: str) -> Iterator[str]:
    params = run.data.params
    tags = run.data.tags
    more = f" and {len(classes) - MAX_CLASSES} more" if len(classes) > MAX_CLASSES else ""
    yield (
        "Takes one RGB image of any size, stretches it to "
        f"{params['image_size']} x {params['image_size']} pixels, and gives a probability for "
        f"each class: {', '.join(classes[:MAX_CLASSES])}{more}."
    )
    yield f"Started from {WEIGHTS[tags['weights_kind']]}."
    yield f"Chosen as {chosen}; run `{run.info.run_id}`, code {tags['code_version']}."
    fields = [f"{name}={value}" for name, value in sorted(params.items()) if name not in PATHS]
    yield f"Config: `{' '.join(fields)}`"


def _describe_data(run: Run) -> Iterator[str]:
    params = run.data.params
    tags = run.data.tags
    has_folds = params.get("folds", "0") != "0"
    fold = f", fold {params['fold']} of {params['folds']}" if has_folds else ""
    yield f"{_name_data_of(run)}, digest `{tags['data_digest']}`."
    yield f"Split `{tags['split']}`{fold}: {tags['sizes']} images for training/validation/test."
    if tags["leak"] == "unknown":
        yield "Leak: unknown, because the groups of the images (such as patients) are not known."
        return
    leaking, total = tags["leak"].split("/")
    if leaking.startswith("at least "):
        yield (
            f"Leak: {leaking} of {total} test images have a near-duplicate in training. Which "
            "images show the same patient is not known."
        )
        return
    groups = run.data.metrics["test_groups"]
    yield (
        f"Leak: {leaking} of {total} test images have a sibling in training (an image of the same "
        f"patient or original); the test images come from {groups:.0f} such groups."
    )


def _describe_results(run: Run, interval: "Estimate | None") -> Iterator[str]:
    metrics = run.data.metrics
    sizes = run.data.tags["sizes"].split("/")  # of train, val and test
    groups = metrics.get("test_groups")
    test_set = f"{sizes[2]} images" + ("" if groups is None else f" of {groups:.0f} groups")
    yield (
        f"Test accuracy {metrics['test_accuracy']:.4f}, loss {metrics['test_loss']:.4f} "
        f"({test_set})."
    )
    if interval is not None:
        yield (
            "95 % interval of the accuracy on other test images of this kind: "
            f"{interval.low:.4f} to {interval.high:.4f}."
        )
    yield f"Validation accuracy {metrics['val_accuracy']:.4f} ({sizes[1]} images)."
    yield (
        f"Evaluated once, after the last epoch ({metrics['epochs_run']:.0f}); the run's "
        "predictions.parquet has the probabilities of each image."
    )


def _describe_limits(run: Run) -> Iterator[str]:
    params = run.data.params
    tags = run.data.tags
    if params["dataset"] == "demo":
        yield "The images are **synthetic** drawings: the model has never seen real blood."
    if tags["leak"] not in ("unknown", "0") and not tags["leak"].startswith("0/"):
        yield "The split leaks, so test accuracy partly measures memory: expect less on new images."
    if params.get("limit", "0") != "0":
        yield f"Trained and tested on a subset of about {params['limit']} images."
    if tags["skipped"] != "0":
        yield f"{tags['skipped']} files of the data set could not be read and were left out."
    yield "It is one training with one seed on one data set. Another training gives other figures."
    yield "It always answers with one of its classes, even for an image of something else."
    yield "Its probabilities are not calibrated."
