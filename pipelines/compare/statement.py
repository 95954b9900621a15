"""The plain words above a table: what was run, under which protocol, and what to beware of."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence

from pipelines.compare.table import blocks_of
from pipelines.runs.finished import FinishedRun
from pipelines.runs.finished import folder_path
from pipelines.runs.protocol import plural
from pipelines.runs.protocol import protocol
from pipelines.runs.protocol import setting_text
from pipelines.runs.protocol import split_text
from pipelines.runs.protocol import weights_text
from study.config import BACKBONES
from study.config import recipe
from study.config import TrialConfig
from study.reported import reported
from study.reported import TEST_IMAGES

# Named in the statement's own sentence, or no setting of the reports at all.
TOLD = ("dataset", "split", "folds", "weights", "image_size", "epochs", "backbone", "limit")
NOT_SETTINGS = ("dataset", "weights_file", "weights_digest", "data_digest", "protocol_version")
MISSING_IMAGES = 0.01  # of the report's test images: as few may lack in a copy of its data set


def title(dataset: str) -> str:
    """What the table is about."""
    return f"Comparison table: {data_set_name(dataset)}"


def data_set_name(dataset: str) -> str:
    """`chest`, `demo (synthetic)`, or `folder NAME`: a folder's path stays private."""
    if dataset.startswith("folder:"):
        return f"folder {folder_path(dataset).name}"
    return {"demo": "demo (synthetic)"}.get(dataset, dataset)


def statement(runs: Sequence[FinishedRun], rows: int) -> str:
    """One paragraph: data set, backbone, weights, split, image size, epochs, number of runs."""
    configs = [run.config for run in runs]
    models = _listed(BACKBONES[config.backbone].title for config in configs)
    sizes = _listed(f"{size} x {size}" for size in sorted({c.image_size for c in configs}))
    epochs = _listed(str(count) for count in sorted({c.epochs for c in configs}))
    weights = _listed(weights_text(run) for run in runs)
    sentences = [
        f"Data set: {data_set_name(configs[0].dataset)}.",
        *_synthetic(configs[0].dataset),
        f"{models} with {weights}, {_listed(split_text(run) for run in runs)},"
        f" images of {sizes} pixels, at most {epochs} {'epoch' if epochs == '1' else 'epochs'}.",
        f"{plural(len(runs), 'run')} in {plural(rows, 'row')};"
        " each figure is the mean over the seeds of its row (learning time: the median)."
        " Against the base: variant 1 on the same images and seeds; p by Holm's method for all of a"
        " block; P(better): of trainings, the share that beat the base's.",
        *_cross_validated(runs),
        *_other_settings(runs),
        *_against_report(runs),
    ]
    return " ".join(sentences)


def cautions(runs: Sequence[FinishedRun], tested: Collection[str]) -> list[str]:
    """One plain line for each thing that makes the accuracies mean less than they seem to.

    Args:
        runs: of the table.
        tested: the IDs of those whose predictions were found.
    """
    lines = []
    subsets = [run for run in runs if run.config.limit]
    if subsets:
        sizes = _listed(str(limit) for limit in sorted({run.config.limit for run in subsets}))
        lines.append(f"Subset: {_share(subsets, runs)} used only about {sizes} images.")
    leaking = [run for run in runs if run.leaking and run.leaking[0]]
    if leaking:
        most, of = max(run.leaking for run in leaking if run.leaking)
        lines.append(
            f"Warning: in {_share(leaking, runs)}, test images have a sibling in train (the same"
            f" original or the same patient; up to {most} of {of}),"
            " so test accuracy partly measures memory."
        )
    unknown = [run for run in runs if run.leaking is None]
    if unknown:
        lines.append(
            f"In {_share(unknown, runs)}, it is unknown how many test images have a sibling in"
            " train."
        )
    return lines + _seeds(runs) + _without_predictions(runs, tested) + _missing_folds(runs)


def report_notes(dataset: str) -> list[str]:
    """What is wrong with the figures that a report prints, a line for each variant concerned."""
    rows = reported(dataset).values()
    return [f"Variant {row.variant}: {row.note}." for row in rows if row.note]


def departures(run: FinishedRun) -> list[str]:
    """The settings in which a run departs from its data set's recipe, the reports' protocol."""
    base = recipe(run.config.dataset).as_dict()
    names = [
        name
        for name, value in protocol(run).items()
        if name not in NOT_SETTINGS and value != base[name]
    ]
    if not {"split", "limit"}.intersection(names) and not _tests_the_reports_images(run):
        names.append("test_images")
    return names


def _tests_the_reports_images(run: FinishedRun) -> bool:
    """Whether there are as many test images as in the report, but for a few."""
    total, tested = TEST_IMAGES.get(run.config.dataset), _tested(run)
    if total is None:
        return True
    return tested is not None and abs(tested - total) <= MISSING_IMAGES * total


def _tested(run: FinishedRun) -> int | None:
    """The number of test images, if the run says it."""
    count = run.sizes.split("/")[-1]
    return int(count) if count.isdigit() else None


def _synthetic(dataset: str) -> list[str]:
    return ["Its images are synthetic: drawn, not photographed."] * (dataset == "demo")


def _cross_validated(runs: Sequence[FinishedRun]) -> list[str]:
    if not any(run.config.folds for run in runs):
        return []
    return [
        "Where a row has folds, its test loss and accuracy are over the test images of all of them"
        " together: with every fold there, each image is tested once per seed."
    ]


def _seeds(runs: Sequence[FinishedRun]) -> list[str]:
    rows = [row for block in blocks_of(runs) for row in block]
    alone = sum(len({run.config.seed for run in row}) == 1 for row in rows)
    if not alone:
        return []
    where = "One seed" if alone == len(rows) else f"One seed in {alone} of {len(rows)} rows"
    return [
        f"{where}: such intervals are about other test images, not about another training, which"
        " may move accuracy by points. A difference may be luck of the training: use --seeds 5."
    ]


def _without_predictions(runs: Sequence[FinishedRun], tested: Collection[str]) -> list[str]:
    lost = [run for run in runs if run.run_id not in tested]
    if not lost:
        return []
    return [
        f"Of {_share(lost, runs)}, the predictions are missing or belong to other figures:"
        " intervals and comparisons do without them."
    ]


def _missing_folds(runs: Sequence[FinishedRun]) -> list[str]:
    found: dict[tuple[TrialConfig, str, str, str, str], set[int]] = {}
    for run in (run for run in runs if run.config.folds):
        rest = (run.weights_kind, run.weights_file, run.weights_digest, run.data_digest)
        found.setdefault((run.config.replace(fold=1), *rest), set()).add(run.config.fold)
    partial = sum(len(folds) < config.folds for (config, *_), folds in found.items())
    if not partial:
        return []
    return [
        f"In {partial} of {plural(len(found), 'cross-validation')}, folds are missing: some images"
        " are never tested."
    ]


def _other_settings(runs: Sequence[FinishedRun]) -> list[str]:
    base = recipe(runs[0].config.dataset).as_dict()
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in protocol(run).items():
            if name not in (*TOLD, *NOT_SETTINGS):
                values.setdefault(name, set()).add(setting_text(name, value))
    usual = {name: setting_text(name, base[name]) for name in values}
    unusual = [
        f"{name.replace('_', ' ')} {_listed(sorted(texts))} (usual: {usual[name]})"
        for name, texts in values.items()
        if texts != {usual[name]}
    ]
    return [f"Further settings: {'; '.join(unusual)}."] if unusual else []


def _against_report(runs: Sequence[FinishedRun]) -> list[str]:
    if not reported(runs[0].config.dataset):
        return []
    names = [departures(run) for run in runs]
    differing = [run for run, found in zip(runs, names, strict=True) if found]
    if not differing:
        return [f"This is the report's protocol, as far as it is known{_fewer_images(runs)}."]
    what = _listed(name.replace("_", " ") for found in names for name in found)
    who = "These are" if len(differing) == len(runs) else f"{_share(differing, runs)} are"
    return [
        f"{who} not under the report's protocol (different: {what}):"
        " their difference from a reported accuracy neither confirms nor refutes it."
    ]


def _fewer_images(runs: Sequence[FinishedRun]) -> str:
    total = TEST_IMAGES.get(runs[0].config.dataset)
    counts = sorted({count for run in runs if (count := _tested(run)) not in (None, total)})
    return f", on {_listed(map(str, counts))} test images instead of {total}" if counts else ""


def _share(some: Sequence[FinishedRun], runs: Sequence[FinishedRun]) -> str:
    return "all runs" if len(some) == len(runs) else f"{len(some)} of {plural(len(runs), 'run')}"


def _listed(texts: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`: each once, in the order of first appearance."""
    *others, last = dict.fromkeys(texts)
    return f"{', '.join(others)} and {last}" if others else last
