"""Compose the page of a study's parent run, its description in the MLflow UI."""

import math
import shlex
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from mlflow.entities import Run

from study.common.words import format_percent
from study.config.backbones import BACKBONES
from study.config.dataset_names import data_name
from study.config.initial_weights import weights_kind
from study.config.names import describe_split
from study.config.names import make_trial_title
from study.config.trial_config import TrialConfig
from study.tracking import operations
from study.tracking import ui_links
from study.tracking.operations import now_ms
from study.tracking.operations import Operation


def make_operations(
    run: Run,
    base: TrialConfig,
    paragraphs: Sequence[str],
    figures: Mapping[str, float],
    run_ids: Sequence[str] = (),
) -> list[Operation]:
    """Return the operations that write a study's page.

    Args:
        run: the parent run.
        base: the config that the trials have in common.
        paragraphs: of Markdown, the result first.
        figures: metrics of the run by name. Those that are not finite are left out.
        run_ids: of the trials whose curves are linked; by default, of the run's children.
    """
    finite_figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    # The UI folds the note and shows its first lines, so the result comes before the links.
    text = "\n\n".join([*paragraphs, *_make_links(run, base, run_ids)])
    return [
        operations.metrics(finite_figures, now_ms(), step=0),
        operations.tags({ui_links.NOTE_TAG: text}),
    ]


def _make_links(run: Run, base: TrialConfig, run_ids: Sequence[str]) -> Iterator[str]:
    """Yield paragraphs with links to more, and the commands that make the report."""
    experiment = run.info.experiment_id
    charts = ui_links.charts_link(experiment, run.info.run_id, run_ids)
    yield (
        f"[Compare the curves]({charts}) · "
        f"[all finished runs, the best first]({ui_links.view_link(experiment)})"
    )
    yield (
        "These commands write the table and the report (intervals, paired tests, leaks) and add "
        "them to this run's artifacts:"
    )
    dataset = shlex.quote(base.dataset)
    commands = [f"python -m pipelines.{name} --dataset {dataset}" for name in ("export", "report")]
    yield "\n".join(["```", *commands, "```"])


def describe_protocol(
    base: TrialConfig, name_digest: str, searched_fields: Collection[str] = ()
) -> str:
    """Describe in a line what all trials of a study have in common.

    Args:
        base: the config that the trials have in common.
        name_digest: that of `compute_name_digest` when the study began. The images may be others
            by now, or gone.
        searched_fields: those that are left out.
    """
    synthetic_part = " (synthetic)" if base.dataset == "demo" else ""
    name = data_name(base.dataset, name_digest)
    parts = {
        "dataset": f"Data set {name}{synthetic_part}",
        "backbone": BACKBONES[base.backbone].title,
        "weights": f"weights: {weights_kind(base)}",
        "split": describe_split(base),
        "image_size": f"{base.image_size} x {base.image_size} pixels",
        "epochs": f"at most {base.epochs} {'epoch' if base.epochs == 1 else 'epochs'}",
        "limit": f"about {base.limit} images" if base.limit else "all images",
    }
    return ", ".join(text for field, text in parts.items() if field not in searched_fields)


def format_link(parent: Run, config: TrialConfig, run_id: str, name_digest: str) -> str:
    """Return a link to the run of a trial, in Markdown.

    The digest is as in `describe_protocol`.
    """
    # brackets would end the link's text
    title = make_trial_title(config, name_digest).replace("[", "(").replace("]", ")")
    return f"[{title}]({ui_links.run_link(parent.info.experiment_id, run_id)})"


def format_known_percent(share: float) -> str:
    """Format a share (0 to 1) as `97.5 %`, or say that it is not known yet."""
    return format_percent(share) if math.isfinite(share) else "not delivered yet"
