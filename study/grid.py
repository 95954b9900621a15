"""Train the seven variants of a report as an Optuna grid, each as one MLflow run under a parent.

    python -m study.grid --dataset demo
    python -m study.grid --dataset chest --image-size 96 --epochs 3 --seeds 2
    python -m study.grid --dataset demo --split grouped --folds 5

Repeating the command trains only what is not finished: an interrupted variant goes on from its last
epoch, a failed one is tried again. What tells the variants apart (hidden_layers, dense_units, lr)
is theirs to set. With --folds and no --fold, each fold is the test set of a trial in turn.
"""

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import optuna
from mlflow.tracking import MlflowClient
from optuna.samplers import GridSampler
from optuna.trial import TrialState

from study import tracking
from study.cli import add_config_flags
from study.cli import add_trial_flags
from study.cli import config_from
from study.cli import Parser
from study.cli import run_command
from study.config import ConfigError
from study.config import fingerprint
from study.config import StudyError
from study.config import TrialConfig
from study.data import data_digest
from study.launch import Worker
from study.options import Options
from study.options import Outcome
from study.progress import duration
from study.progress import Progress
from study.study_storage import abandon
from study.study_storage import held
from study.study_storage import open_study
from study.variants import variant_fields
from study.variants import VARIANTS

BY_VARIANT = ("hidden_layers", "dense_units", "lr")


class Cell(NamedTuple):
    """One trial of a grid."""

    variant: int
    seed: int
    fold: int = 0

    def __str__(self) -> str:
        fold = f" and fold {self.fold}" * (self.fold > 0)
        return f"variant {self.variant} with seed {self.seed}{fold}"


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is to be trained, and under which name Optuna and MLflow know it."""

    name: str
    base: TrialConfig
    space: dict[str, list[int]]  # Optuna's: `variant`, and `seed` and `fold` if there are several
    configs: dict[Cell, TrialConfig]
    keys: dict[Cell, str]  # fingerprints


def search_space(
    base: TrialConfig, seeds: int | None = None, *, every_fold: bool = False
) -> dict[str, list[int]]:
    """The seven variants, with `seeds` seeds each from `base`'s on, and with each of its folds."""
    space = {"variant": [variant.number for variant in VARIANTS]}
    if seeds is not None:
        space["seed"] = [base.seed + i for i in range(seeds)]
    if every_fold:
        space["fold"] = list(range(1, base.folds + 1))
    return space


def make_grid(base: TrialConfig, space: dict[str, list[int]], digest: str) -> Grid:
    """The cells of a grid: `base`, changed to each point of the search space."""
    points = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    cells = [_cell(base, point) for point in points]
    configs = {
        cell: base.replace(seed=cell.seed, fold=cell.fold, **variant_fields(cell.variant, base))
        for cell in cells
    }
    settings = json.dumps([_shared(base), digest], sort_keys=True)
    mark = hashlib.sha256(settings.encode()).hexdigest()[:8]
    name = f"grid-{base.dataset}-{base.image_size}px-{base.epochs}ep-{mark}"
    keys = {cell: fingerprint(config, digest) for cell, config in configs.items()}
    return Grid(name, base, space, configs, keys)


def _cell(base: TrialConfig, params: Mapping[str, int]) -> Cell:
    return Cell(params["variant"], params.get("seed", base.seed), params.get("fold", base.fold))


class Session:
    """One call of the command: asks Optuna for cells and has each trained, or finds it finished."""

    def __init__(self, grid: Grid, client: MlflowClient, options: Options) -> None:
        self.grid = grid
        self.client = client
        self.options = options
        self.progress = Progress()
        self.worker = Worker()
        self.finished = self._finished()
        self.attempted: set[Cell] = set()
        self.failed: dict[Cell, str] = {}
        self.seconds: list[float] = []  # of the trials trained by this call

    def _finished(self) -> dict[Cell, Outcome]:
        runs = {
            cell: tracking.find_finished(self.client, key) for cell, key in self.grid.keys.items()
        }
        return {cell: tracking.outcome(run) for cell, run in runs.items() if run is not None}

    def run(self, study: optuna.Study) -> None:
        """Visit every cell once, the ones never tried first."""
        sampler = GridSampler(self.grid.space)
        study.sampler = sampler
        with self.worker:
            while not sampler.is_exhausted(study):
                study.optimize(self.objective, n_trials=1, catch=(Exception,))
            # GridSampler takes a failed cell for visited, so these are asked for by name
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            done = {_cell(self.grid.base, trial.params) for trial in complete}
            done &= self.finished.keys()
            for cell in sorted(self.grid.configs.keys() - done - self.attempted):
                study.enqueue_trial(cell._asdict())
                study.optimize(self.objective, n_trials=1, catch=(Exception,))

    def objective(self, trial: optuna.Trial) -> float:
        """Validation accuracy of the cell that Optuna asks for."""
        # a range may grow in later calls, as with more seeds; a set of categories may not
        chosen = {name: trial.suggest_int(name, v[0], v[-1]) for name, v in self.grid.space.items()}
        cell = _cell(self.grid.base, chosen)
        self.attempted.add(cell)
        if cell not in self.finished:
            self._train(cell)
        trial.set_user_attr("run_id", self.finished[cell].run_id)
        return self.finished[cell].val_accuracy

    def _train(self, cell: Cell) -> None:
        number, start = len(self.finished) + len(self.failed) + 1, time.monotonic()
        label = f"[{number}/{len(self.grid.configs)}] "
        options = dataclasses.replace(self.options, label=label)
        try:
            config = self.grid.configs[cell]
            self.finished[cell] = self.worker.call("study.train:train", config, options)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            known = isinstance(error, StudyError)
            self.failed[cell] = reason if known else f"{type(error).__name__}: {reason}"
            self.progress.say(f"{label}{cell} failed: {self.failed[cell]}")
            raise
        self.seconds.append(time.monotonic() - start)
        if left := len(self.grid.configs) - number:
            rest = duration(left * sum(self.seconds) / len(self.seconds))
            self.progress.say(f"{label}done; about {rest} for the other {left}")


def run_grid(base: TrialConfig, space: dict[str, list[int]], options: Options) -> Session:
    """Train what is missing of a grid: `base` at each point of the search space.

    Raises:
        StudyError: the data or a server cannot be had, or another process runs this grid.
    """
    client = tracking.connect()
    grid = make_grid(base, space, data_digest(base.dataset))
    with held(grid.name):
        session = Session(grid, client, options)
        study = open_study(grid.name, "maximize")
        abandon(study)
        session.progress.say(
            f"{grid.name}: {len(grid.configs)} trials, {len(session.finished)} finished already"
        )
        settled = tracking.is_settled(client, grid.name)  # not if it was killed before its end
        if len(session.finished) < len(grid.configs) or not settled:
            with tracking.parent_run(client, base.dataset, grid.name, _shared(base)) as parent:
                session.options = dataclasses.replace(options, parent=parent)
                session.run(study)
    return session


def _shared(base: TrialConfig) -> dict[str, str | int | float]:
    return {k: v for k, v in base.as_dict().items() if k not in (*BY_VARIANT, "seed", "fold")}


def _summarize(session: Session) -> None:
    grid, say = session.grid, session.progress.say
    if session.finished:
        best = max(session.finished, key=lambda cell: session.finished[cell].val_accuracy)
        outcome = session.finished[best]
        say(
            f"{len(session.finished)} of {len(grid.configs)} finished; best on validation: variant "
            f"{best.variant} (val {outcome.val_accuracy:.4f}, test {outcome.test_accuracy:.4f})"
        )
        say(f"table: python -m pipelines.export --dataset {grid.base.dataset}")
    if session.failed:
        cell, reason = next(iter(session.failed.items()))
        raise StudyError(
            f"{len(session.failed)} of {len(grid.configs)} trials failed, such as {cell}: "
            f"{reason}\nRepeat the command to try them again."
        )


def main() -> None:
    """The command."""
    parser = Parser(__doc__ or "", "study.grid")
    parser.add_argument(
        "--seeds", metavar="N", help="train each variant with N seeds, from --seed on [default: 1]"
    )
    add_trial_flags(parser)
    add_config_flags(parser, leave_out=BY_VARIANT)
    args = parser.parse_args()
    every_fold = args.fold is None and args.folds not in (None, "0")
    if every_fold:
        args.fold = "1"
    base = config_from(args)
    if args.seeds is not None and not (args.seeds.isdecimal() and 1 <= int(args.seeds) <= 1000):
        raise ConfigError(f"seeds={args.seeds!r} is out of range: use 1 to 1000")
    seeds = None if args.seeds is None else int(args.seeds)
    space = search_space(base, seeds, every_fold=every_fold)
    _summarize(run_grid(base, space, Options(not args.no_cache, args.log_model)))


if __name__ == "__main__":
    sys.exit(run_command(main))
