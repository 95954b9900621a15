"""Search with Optuna, and train the best config and the start with fresh seeds."""

import contextlib
import time
from collections.abc import Iterator
from collections.abc import Sequence

from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from study.common.errors import StudyError
from study.common.progress import Progress
from study.data.prepare import compute_data_digest
from study.data.prepare import compute_name_digest
from study.data.prepare import has_groups
from study.job import Options
from study.search import confirm
from study.search.claims import Claims
from study.search.claims import RELEASE_SECONDS
from study.search.grid_plan import parent_run_title
from study.search.import_finished import import_finished
from study.search.samplers import make_sampler
from study.search.search_plan import SearchPlan
from study.search.search_scheduler import SearchScheduler
from study.search.search_summary import summarize_search
from study.search.space import Space
from study.search.storage import Storage
from study.search.study_run import open_study_run
from study.search.trial_states import find_ended_trials
from study.tracking import connection
from study.tracking import outages
from study.tracking.parent_run import StudySpec
from study.workers.pool import run_workers
from study.workers.pool import Worker


def run_search(space: Space, plan: SearchPlan, workers: Sequence[Worker]) -> None:
    """Search, and train the best config and the start with fresh seeds.

    Raises:
        StudyError: the data or a server is not available, another process runs this search,
            training fails again and again, or the win did not repeat.
    """
    make_sampler(plan.sampler, 0)  # raises at once if a package that it needs is missing
    if space.base.split == "grouped" and not has_groups(space.base.dataset):
        raise StudyError(
            f"no groups known for {space.base.dataset}: add --split pooled or --split official"
        )
    digest = compute_data_digest(space.base.dataset, space.base.split)
    name_digest = compute_name_digest(space.base.dataset)
    client = outages.retry_at_start(connection.connect, Progress())
    metric = f"val_{plan.objective}"
    seed_words = [f"{plan.seeds} seeds"] if plan.seeds > 1 else []
    storage = Storage(space.name(metric, digest, *seed_words))
    with storage.lock_for_process():
        claims = Claims(storage, "minimize" if plan.objective == "loss" else "maximize")
        claims.study.sampler = storage.retry_until_available(
            lambda: _make_seeded_sampler(plan.sampler, space.base.seed, claims)
        )
        search = SearchScheduler(
            claims, space, metric, digest, client, plan.bounds, plan.pruner, plan.seeds, name_digest
        )
        confirmation, doubts = _search_under_parent(search, plan, workers)
    if plan.register:
        if doubts and not plan.force:
            raise StudyError(
                "no model is registered, because the win did not repeat; --force registers it all "
                "the same"
            )
        confirm.register_best(confirmation.winner, client, search.progress, name=plan.model_name)


def _search_under_parent(
    search: SearchScheduler, plan: SearchPlan, workers: Sequence[Worker]
) -> tuple[confirm.Confirmation, list[str]]:
    """Search and confirm below the search's parent run.

    Returns:
        What the fresh seeds show, and why the win did not repeat with them.
    """
    base = search.space.base
    title = parent_run_title("search", base)
    name = search.claims.storage.name
    spec = StudySpec(base.dataset, name, title, search.space.shared_fields())
    confirmation = confirm.Confirmation()
    doubts: list[str] = []
    with open_study_run(search.claims, search.client, spec) as study_run:
        search.options = Options(
            use_cache=plan.use_cache,
            log_model=plan.log_model,
            wait_for_lock=True,
            plain_progress=len(workers) > 1,
            parent=study_run.id,
        )
        try:
            _train_trials(search, workers)
            log_model = plan.log_model or plan.register
            confirmation = confirm.confirm_best(search, workers, plan.confirm, log_model=log_model)
            doubts = confirm.find_doubts(search.metric, confirmation)
        finally:
            study_run.write(
                search.claims.storage.retry_until_available(
                    lambda: summarize_search(search, confirmation, doubts, study_run.run),
                    RELEASE_SECONDS,
                )
            )
    for doubt in doubts:
        search.progress.say(f"the win did not repeat: {doubt}")
    return confirmation, doubts


def _make_seeded_sampler(kind: str, seed: int, claims: Claims) -> BaseSampler:
    # With the same seed, a repeated call would propose the same configs again: the number of
    # trials is added. Two calls at the same time would still agree: then the seed is random.
    is_alone = not claims.trials(TrialState.RUNNING)
    return make_sampler(kind, seed + len(claims.study.trials) if is_alone else None)


def _train_trials(search: SearchScheduler, workers: Sequence[Worker]) -> None:
    search.starts = search.space.starts()
    imported = import_finished(search)
    say = search.progress.say
    origin = f", {imported} of them from earlier runs" if imported > 0 else ""
    ended = find_ended_trials(search.claims.storage.retry_until_available(search.claims.trials))
    say(f"{search.claims.storage.name}: {len(ended)} trials ended already{origin}")
    say(f"searched: {', '.join(search.space.free)}")
    search.started_at = time.monotonic()
    with _print_best_at_end(search):
        run_workers(workers, search.step)
        say(f"{search.end_reason}; {search.trained} trained by this call")


@contextlib.contextmanager
def _print_best_at_end(search: SearchScheduler) -> Iterator[None]:
    """Print the best config at the end of the block, even if it raises an error."""
    try:
        yield
    finally:
        search.claims.storage.retry_until_available(lambda: _print_best(search), RELEASE_SECONDS)


def _print_best(search: SearchScheduler) -> None:
    best = search.best()
    if best is None:
        return
    config = search.space.config(best.params)
    ended = len(find_ended_trials(search.claims.trials()))
    search.progress.say(
        f"best of {ended}: {search.metric} {best.value:.4f}, "
        f"{search.space.describe(config)}, run {best.user_attrs['run_ids'][0]}"
    )
