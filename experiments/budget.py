"""Count how often a third of a grid's compute finds what the full grid finds.

    python -m experiments.budget demo --folder curves --seeds 30
    DATA_DIR=../shared/data python -m experiments.budget chest --folder curves --weights FILE

Trains the seven variants once with each seed, and keeps each epoch's predictions in the folder (a
seed that is there is not trained again). Ways to spend less are then replayed on those curves: a
repeat is `--repeat` seeds in a row, and then any choice of as many seeds.
"""

import argparse
import itertools
import pickle
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dotenv import load_dotenv
from statsmodels.stats.multitest import multipletests

from study.common.progress import Progress
from study.config import recipe
from study.config import TrialConfig
from study.search import fast_budget
from study.search.grid_plan import Cell
from study.statistics import metrics
from study.statistics.intervals import Counts
from study.statistics.intervals import estimate_difference
from study.variants import variant_fields
from study.variants import VARIANTS

ALL = [variant.number for variant in VARIANTS]
SETTINGS: dict[str, dict[str, Any]] = {
    "demo": {"limit": 325},
    "chest": {
        "image_size": 64, "alpha": 0.25, "batch_size": 16, "limit": 400, "epochs": 6,
        "split": "grouped",
    },
}  # fmt: skip

# of a seed's variants: accuracy on validation by epoch; test images right, by epoch; their groups
Curves = dict[int, dict[int, dict[str, Any]]]
Spent = dict[tuple[int, int], int]  # epochs by variant and seed
# the best variant, signs against the base, epochs spent
Found = tuple[int, Mapping[int, int], int]


def train_seed(base: TrialConfig) -> dict[int, dict[str, Any]]:
    """Train each variant with the seed of `base`, by the study's own loop."""
    from study.training import fit
    from study.trial import prepare_trial

    found = {}
    for variant in ALL:
        config = base.replace(**variant_fields(variant, base))
        trial = prepare_trial(config, Progress(), use_cache=True)
        data, split = trial.data, trial.split
        arrays = fit.Arrays(data.x, data.y, split.train, split.val, split.test, len(data.classes))
        loop = fit.make_loop(config, arrays, fit.build_compiled_model(config, arrays.num_classes))
        val, right = [], []
        for epoch in range(config.epochs):
            loop.train(fit.shuffle_training_rows(config, arrays, epoch), lambda *_: None)
            val.append(metrics.accuracy(loop.predict(split.val)[0], data.y[split.val]))
            right.append(loop.predict(split.test)[0].argmax(axis=1) == data.y[split.test])
        groups = np.asarray(data.groups)[split.test]
        found[variant] = {"val": val, "right": np.array(right), "groups": groups}
    return found


def read_or_train(args: argparse.Namespace) -> Curves:
    base = recipe(args.setting).replace(**SETTINGS[args.setting])
    if args.weights:
        base = base.replace(weights=args.weights)
    curves: Curves = {}
    args.folder.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        path = args.folder / f"{args.setting}-{seed}.pkl"
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(train_seed(base.replace(seed=seed))))
            part.rename(path)
        curves[seed] = pickle.loads(path.read_bytes())
    return curves


def on_test(curves: Curves, seeds: Sequence[int], one: int, other: int, epoch: int) -> Any:
    """Estimate the test difference of two variants as the comparison table does."""
    names = np.unique(np.concatenate([curves[seed][one]["groups"] for seed in seeds]))
    counts = []
    for variant in (one, other):
        right, asked = np.zeros((2, len(names), len(seeds)))
        for column, seed in enumerate(seeds):
            cell = curves[seed][variant]
            places = np.searchsorted(names, cell["groups"])
            np.add.at(right[:, column], places, cell["right"][epoch - 1])
            np.add.at(asked[:, column], places, 1)
        counts.append(Counts(right, asked))
    return estimate_difference(*counts)


def signs(curves: Curves, seeds: Mapping[int, Sequence[int]], epoch: int) -> dict[int, int]:
    """Return 1 for variants better than the base, -1 for worse, 0 for not significant.

    Significance is by Holm's p on the test images.
    """
    gains = {v: on_test(curves, of, v, fast_budget.BASE, epoch) for v, of in seeds.items() if of}
    if not gains:
        return {}
    adjusted = multipletests([gain.p for gain in gains.values()], method="holm")[1]
    return {
        variant: int(np.sign(gain.value)) if p < fast_budget.LEVEL else 0
        for (variant, gain), p in zip(gains.items(), adjusted, strict=True)
    }


def score(curves: Curves, seeds: Sequence[int], variant: int, epoch: int) -> float:
    return float(np.mean([curves[seed][variant]["val"][epoch - 1] for seed in seeds]))


def best(curves: Curves, seeds: Sequence[int], among: Sequence[int], epoch: int) -> list[int]:
    return sorted(among, key=lambda variant: -score(curves, seeds, variant, epoch))


def full(curves: Curves, seeds: Sequence[int], epochs: int) -> Found:
    apart = signs(curves, {v: seeds for v in ALL[1:]}, epochs)
    return best(curves, seeds, ALL, epochs)[0], apart, 7 * epochs * len(seeds)


def fast(curves: Curves, seeds: Sequence[int], epochs: int) -> Found:
    """Do what `--budget fast` does."""
    until = fast_budget.fast_epochs(epochs)
    cells = {Cell(v, s): curves[s][v]["val"][until - 1] for v in ALL for s in seeds}
    apart = fast_budget.significant_directions(cells)
    return best(curves, seeds, ALL, until)[0], apart, 7 * until * len(seeds)


def one_seed(curves: Curves, seeds: Sequence[int], epochs: int) -> Found:
    """Run the full grid with a third of the seeds."""
    return full(curves, seeds[: max(1, len(seeds) // 3)], epochs)


def halving(shares: Sequence[tuple[float, int]], seeds_of_last: int) -> Callable[..., Found]:
    """Halve on the first seed, then train the remaining variants with more seeds.

    Args:
        shares: rungs: share of the epochs, and how many variants go on beside the base.
        seeds_of_last: seeds with which the remaining ones train to the end.
    """

    def found(curves: Curves, seeds: Sequence[int], epochs: int) -> Found:
        left, spent = ALL, {}
        for share, keep in shares:
            epoch = max(1, int(share * epochs))
            spent |= {(v, seeds[0]): epoch for v in left}
            others = [v for v in left if v != fast_budget.BASE]
            left = [fast_budget.BASE, *best(curves, seeds[:1], others, epoch)[:keep]]
        spent |= {(v, s): epochs for v in left for s in seeds[:seeds_of_last]}
        last = seeds[:seeds_of_last]
        apart = signs(curves, {v: last for v in left[1:]}, epochs)
        return best(curves, last, left, epochs)[0], apart, sum(spent.values())

    return found


WAYS: dict[str, Callable[..., Found]] = {
    "a third of the epochs, all seeds": fast,
    "all epochs, a third of the seeds": one_seed,
    "halving: 1/3 keeps 3, 2/3 keeps 1, 2 seeds": halving([(1 / 3, 3), (2 / 3, 1)], 2),
    "halving: 1/2 keeps 1, 2 seeds": halving([(1 / 2, 1)], 2),
    "halving: 1/5 keeps 1, all seeds": halving([(1 / 5, 1)], 3),
}


def compare(curves: Curves, repeats: Sequence[Sequence[int]], epochs: int) -> None:
    truth = [full(curves, seeds, epochs) for seeds in repeats]
    silent = np.mean([not any(apart.values()) for _, apart, _ in truth])
    print(f"{len(repeats)} repeats; nothing told apart in {silent:.0%}")
    print(f"{'':44}{'same':>6}{'or tied':>9}{'verdicts':>20}{'all 3':>7}{'compute':>9}")
    for name, way in WAYS.items():
        found = [way(curves, seeds, epochs) for seeds in repeats]
        same = [f[0] == t[0] for f, t in zip(found, truth, strict=True)]
        tied = [
            s or on_test(curves, seeds, f[0], t[0], epochs).p >= fast_budget.LEVEL
            for s, f, t, seeds in zip(same, found, truth, repeats, strict=True)
        ]
        pairs = [
            (fast_budget.describe_factors(f[1]), fast_budget.describe_factors(t[1]))
            for f, t in zip(found, truth, strict=True)
        ]
        each = " ".join(
            f"{np.mean([a[n] == b[n] for a, b in pairs]):.0%}" for n in fast_budget.FACTORS
        )
        alike = np.mean([a == b for a, b in pairs])
        spent = np.mean([f[2] / t[2] for f, t in zip(found, truth, strict=True)])
        print(
            f"{name:44}{np.mean(same):6.0%}{np.mean(tied):9.0%}{each:>20}{alike:7.0%}{spent:9.3f}"
        )


def limits(curves: Curves, chosen: Sequence[Sequence[int]], epochs: int) -> None:
    """Print how firm the full grid's own choice is."""
    shorter = epochs - max(1, epochs // 9)
    firm = [best(curves, c, ALL, shorter)[0] == best(curves, c, ALL, epochs)[0] for c in chosen]
    print(f"same best after {shorter} of {epochs} epochs: {np.mean(firm):.0%} of {len(chosen)}")
    rng, size, alike = np.random.default_rng(0), len(chosen[0]), []
    for _ in range(500):
        seeds = rng.permutation(sorted(curves))
        one, other = (best(curves, seeds[i : i + size], ALL, epochs)[0] for i in (0, size))
        alike.append(one == other)
    print(f"same best with {size} other seeds, all epochs: {np.mean(alike):.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("setting", choices=tuple(SETTINGS))
    add("--folder", type=Path, required=True, help="where the curves are kept")
    add("--seeds", type=int, default=30, help="[default: 30]")
    add("--repeat", type=int, default=3, help="seeds of a grid [default: 3]")
    add("--weights", help="of MobileNet, alpha 0.25: none or FILE")
    args = parser.parse_args()
    curves, size = read_or_train(args), args.repeat
    epochs = len(curves[0][1]["val"])
    seeds = sorted(curves)
    compare(curves, [seeds[i : i + size] for i in range(0, len(seeds) - size + 1, size)], epochs)
    chosen = list(itertools.combinations(seeds, size))
    limits(curves, chosen, epochs)
    some = np.random.default_rng(0).permutation(len(chosen))[:60]
    compare(curves, [chosen[i] for i in some], epochs)


if __name__ == "__main__":
    load_dotenv(".env")
    main()
