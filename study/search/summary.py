"""What a study has come to so far, for the page of its parent run in the MLflow UI."""

import math
import shlex
import time
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from mlflow.entities import Run
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.config import BACKBONES
from study.config import data_name
from study.config import TrialConfig
from study.config import weights_kind
from study.job import Outcome
from study.search import fast_budget
from study.search.grid_plan import Cell
from study.search.grid_plan import split_of
from study.search.grid_scheduler import Session
from study.search.search_scheduler import Search
from study.tracking import operations
from study.tracking import ui_links
from study.tracking.operations import Operation
from study.variants import VARIANTS


def of_grid(session: Session, run: Run) -> list[Operation]:
    """What a grid's parent run is told, whether all is trained or not."""
    grid, finished = session.grid, session.finished
    failed = f", {len(session.failed)} failed" * bool(session.failed)
    figures: dict[str, float] = {"finished": len(finished), "failed": len(session.failed)}
    what = (
        f"Grid of the {len(VARIANTS)} variants: {len(finished)} of {len(grid.configs)} trials "
        f"finished{failed}. {_protocol(grid.base)}."
    )
    said = []
    if finished:
        best = best_cell(finished)
        same = [outcome for cell, outcome in finished.items() if cell.variant == best.variant]
        accuracies = {
            "best_val_accuracy": _mean([outcome.val_accuracy for outcome in same]),
            "best_test_accuracy": _mean([outcome.test_accuracy for outcome in same]),
        }
        of = f", means over its {len(same)} trainings, the best of which is linked" * (
            len(same) > 1
        )
        link = _link(run, grid.configs[best], finished[best].run_id)
        said.append(
            f"**Best on validation: variant {best.variant}**, {link}: validation accuracy "
            f"{_percent(accuracies['best_val_accuracy'])}, test accuracy "
            f"{_percent(accuracies['best_test_accuracy'])}{of}"
        )
        figures |= accuracies
    return _told(run, grid.base, [*said, what], figures)


def of_fast_grid(session: Session, run: Run) -> list[Operation]:
    """What a fast grid's parent run is told; no test accuracy is known."""
    grid, until = session.grid, session.options.until
    total, epochs = len(grid.configs), grid.base.epochs
    figures: dict[str, float] = {"finished": len(session.finished), "failed": len(session.failed)}
    found = fast_budget.said(session.finished)
    said = [f"**After {until} of {epochs} epochs:** {found}"] * bool(found)
    what = (
        f"Fast grid of the {len(VARIANTS)} variants: {len(session.finished)} of {total} trials "
        f"trained to epoch {until}, {total * until} of the full grid's {total * epochs} epochs of "
        f"the same images and pixels ({until / epochs:.0%}), and paused there; the same command "
        f"without `--budget fast` trains the rest. {_protocol(grid.base)}."
    )
    return _told(run, grid.base, [*said, what], figures)


def of_search(
    search: Search, confirmed: Mapping[TrialConfig, Outcome], run: Run
) -> list[Operation]:
    """What a search's parent run is told; test accuracies of the confirming runs alone."""
    ended = search.claims.ended()
    complete = [trial for trial in ended.values() if trial.state == TrialState.COMPLETE]
    failed = _failed(search, ended.keys())
    figures = {"finished": float(len(complete)), "failed": float(failed)}
    what = (
        f"Search over {', '.join(search.space.free)}: {len(complete)} trials finished, "
        f"{len(ended) - len(complete)} pruned, {failed} failed. "
        f"{_protocol(search.space.base, search.space.free)}."
    )
    said = []
    best = search.best()
    if best is not None:
        figures[f"best_{search.metric}"] = best.value or 0.0
        said.append(f"**Best on validation:** {_best(run, search, best)}")
    if confirmed:
        accuracies = [outcome.test_accuracy for outcome in confirmed.values()]
        figures["best_test_accuracy"] = _mean(accuracies)
        links = ", ".join(_link(run, config, made.run_id) for config, made in confirmed.items())
        said.append(
            f"**With fresh seeds** its test accuracy is {_percent(_mean(accuracies))} "
            f"(mean of {len(confirmed)}): {links}"
        )
    return _told(run, search.space.base, [*said, what], figures)


def best_cell(finished: Mapping[Cell, Outcome]) -> Cell:
    """Of the variant that is best on validation in the mean over its cells, the best of these."""
    values: dict[int, list[float]] = {}
    for cell, outcome in finished.items():
        values.setdefault(cell.variant, []).append(outcome.val_accuracy)
    best = max(values, key=lambda variant: _mean(values[variant]))
    cells = [cell for cell in finished if cell.variant == best]
    return max(cells, key=lambda cell: finished[cell].val_accuracy)


def _best(run: Run, search: Search, best: FrozenTrial) -> str:
    runs = best.user_attrs["run_ids"]
    of = f" (mean of {len(runs)} seeds)" * (len(runs) > 1)
    link = _link(run, search.space.config(best.params), runs[0])
    return f"{link}, {search.metric} {best.value:.4f}{of}"


def _failed(search: Search, ended: Collection[str]) -> int:
    """The configs of which no trial ended, or is in training, but one failed by itself."""
    told = [t for t in search.claims.trials(TrialState.FAIL) if "reason" in t.user_attrs]
    return len({t.user_attrs["fingerprint"] for t in told} - set(ended) - search.claims.taken())


def _told(
    run: Run, base: TrialConfig, said: Sequence[str], figures: Mapping[str, float]
) -> list[Operation]:
    known = {name: value for name, value in figures.items() if math.isfinite(value)}
    text = "\n\n".join([*said, *_more(run, base)])  # the UI shows its first lines, folded
    return [
        operations.metrics(known, int(time.time() * 1000), step=0),
        operations.tags({ui_links.NOTE: text}),
    ]


def _more(run: Run, base: TrialConfig) -> Iterator[str]:
    experiment, parent = run.info.experiment_id, run.info.run_id
    yield (
        f"[Compare the curves]({ui_links.charts_link(experiment, parent)}) · "
        f"[all finished runs, the best first]({ui_links.view_link(experiment)})"
    )
    dataset = shlex.quote(base.dataset)
    yield (
        "The table, and how sure the differences are (what leaks, intervals, tests), which also "
        "become artifacts of this run:"
    )
    commands = [f"python -m pipelines.{name} --dataset {dataset}" for name in ("export", "report")]
    yield "\n".join(["```", *commands, "```"])


def _protocol(base: TrialConfig, searched: Collection[str] = ()) -> str:
    """What all trials of a study have in common, in a line."""
    synthetic = " (synthetic)" * (base.dataset == "demo")
    parts = {
        "dataset": f"Data set {data_name(base.dataset)}{synthetic}",
        "backbone": BACKBONES[base.backbone].title,
        "weights": f"weights: {weights_kind(base)}",
        "split": split_of(base),
        "image_size": f"{base.image_size} x {base.image_size} pixels",
        "epochs": f"at most {base.epochs} epochs",
        "limit": f"about {base.limit} images" if base.limit else "all images",
    }
    return ", ".join(text for name, text in parts.items() if name not in searched)


def _link(parent: Run, config: TrialConfig, run_id: str) -> str:
    named = config.title.replace("[", "(").replace("]", ")")  # which would end the link's text
    return f"[{named}]({ui_links.run_link(parent.info.experiment_id, run_id)})"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %") if math.isfinite(share) else "not delivered yet"
