"""Compare what a search found with what it started from, both trained with fresh seeds."""

from collections.abc import Mapping
from collections.abc import Sequence

from pipelines.compare.block_verdicts import judge_rows
from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.pairing import CountsByRun
from pipelines.compare.verdict import BASELINE
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import describe_protocol
from pipelines.runs.protocol import find_differing_settings
from pipelines.runs.protocol import protocol
from study.config.trial_config import TrialConfig
from study.search.space import make_ranges
from study.variants import find_variant

RunsByConfig = Mapping[TrialConfig, list[FinishedRun]]  # by the config with seed 0


def build_search_blocks(
    runs: Sequence[FinishedRun], counts: CountsByRun, named: Sequence[str]
) -> list[Block]:
    """Build a block for each search whose best config was trained with fresh seeds.

    Its first row is variant 1, from which the search started, with the fresh seeds alone. A grid
    may have trained it with some of them. Without any such run, there is no block.

    Args:
        runs: of one data set.
        counts: the test images of each run by group, by run ID.
        named: the settings to name in the block's title.
    """
    runs_by_search: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.role == "confirm":
            runs_by_search.setdefault(run.parent, []).append(run)
    blocks = []
    for confirming_runs in runs_by_search.values():
        confirmed = _group_by_config(confirming_runs)
        start = _find_start(confirmed, runs)
        if not start:
            continue
        best = [row for config, row in confirmed.items() if config != _strip_seed(start[0])]
        if best:
            blocks.append(_build_block([start, *best], counts, named))
    return blocks


def _build_block(rows: list[list[FinishedRun]], counts: CountsByRun, named: Sequence[str]) -> Block:
    searched = find_differing_settings([run for row in rows for run in row])
    title = describe_protocol(rows[0][0], named, searched)
    verdicts = judge_rows(rows, counts, searched)
    return Block(
        f"Best of a search, with fresh seeds: {title}",
        [
            Row(runs, verdict, is_found=number > 0 and bool(searched))
            for number, (runs, verdict) in enumerate(zip(rows, verdicts, strict=True))
        ],
        searched=tuple(name for name in searched if name != "head"),
    )


def _group_by_config(runs: Sequence[FinishedRun]) -> dict[TrialConfig, list[FinishedRun]]:
    """Group runs by their config without the seed, in the order of the seeds."""
    runs_by_config: dict[TrialConfig, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.config.seed, run.started)):
        runs_by_config.setdefault(_strip_seed(run), []).append(run)
    return runs_by_config


def _strip_seed(run: FinishedRun) -> TrialConfig:
    return run.config.replace(seed=0)


def _find_start(confirmed: RunsByConfig, runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Find the runs of variant 1 that differ from what was confirmed in searched fields alone.

    Of several such configs, it is the one with the most of the seeds, then the one nearest to the
    recipe, then one that was confirmed. Only its runs with these seeds are returned.
    """
    confirming_runs = [run for row in confirmed.values() for run in row]
    seeds = {run.config.seed for run in confirming_runs}
    fixed = _list_fixed_settings(confirming_runs[0])
    starts = _group_by_config(
        [
            run
            for run in runs
            if run.config.seed in seeds
            and find_variant(run.config) == BASELINE
            and _list_fixed_settings(run) == fixed
        ]
    )
    if not starts:
        return []
    config = max(
        starts,
        key=lambda config: (
            len(starts[config]),
            -len(config.differences()),
            config in confirmed,
        ),
    )
    return starts[config]


def _list_fixed_settings(run: FinishedRun) -> dict[str, object]:
    """Return the settings that no search changes."""
    searched = make_ranges(run.config)
    return {name: value for name, value in protocol(run).items() if name not in searched}
