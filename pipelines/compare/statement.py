"""Write the text above a table: its runs, and how they differ from the report's."""

from collections.abc import Sequence

from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import describe_weights
from pipelines.runs.protocol import format_setting
from pipelines.runs.protocol import format_share
from pipelines.runs.protocol import protocol
from study.common.folder_names import is_folder_name
from study.common.words import join_distinct
from study.common.words import pluralize
from study.config.backbones import BACKBONES
from study.config.dataset_names import data_name
from study.config.names import describe_split
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.reported import read_reported
from study.reported import TEST_IMAGES
from study.variants import find_variant

# Settings that the statement names in sentences of their own.
STATED_SETTINGS = (
    "dataset",
    "split",
    "folds",
    "weights",
    "image_size",
    "epochs",
    "backbone",
    "limit",
)
# Fields of a protocol that are not settings of the reports.
NOT_SETTINGS = ("dataset", "weights_file", "weights_digest", "data_digest", "protocol_version")
# A copy of a report's data set may lack up to this share of the report's test images.
MISSING_IMAGES = 0.01


def format_title(run: FinishedRun) -> str:
    """Return the title of the table for the data set of a run."""
    return f"Comparison table: {format_dataset_name(run)}"


def format_dataset_name(run: FinishedRun) -> str:
    """Return the name of a run's data set for readers.

    That is `chest`, `demo (synthetic)`, or `folder cells-3f2a9c`, because a folder's path stays
    private.
    """
    dataset = run.config.dataset
    if is_folder_name(dataset):
        return f"folder {data_name(dataset, run.name_digest)}"
    return {"demo": "demo (synthetic)"}.get(dataset, dataset)


def describe_runs(
    runs: Sequence[FinishedRun], rows: int, *, has_variants: bool = True, has_sweeps: bool = False
) -> str:
    """Describe the runs of a table in one paragraph.

    It states the data set, backbone, weights, split, image size, epochs and number of runs.

    Args:
        runs: of the table, all of one data set.
        rows: the number of rows of the table.
        has_variants: whether rows are compared with variant 1.
        has_sweeps: whether rows are of a sweep.
    """
    configs = [run.config for run in runs]
    image_sizes = sorted({config.image_size for config in configs})
    epoch_counts = sorted({config.epochs for config in configs})
    models = join_distinct(BACKBONES[config.backbone].title for config in configs)
    sizes = join_distinct(f"{size} x {size}" for size in image_sizes)
    epochs = join_distinct(str(count) for count in epoch_counts)
    weights = join_distinct(describe_weights(run) for run in runs)
    sentences = [
        f"Data set: {format_dataset_name(runs[-1])}.",
        *_describe_synthetic_images(configs[0].dataset),
        f"{models} with {weights}, {join_distinct(describe_split(run.config) for run in runs)},"
        f" images of {sizes} pixels, at most {epochs} {'epoch' if epochs == '1' else 'epochs'}.",
        f"{pluralize(len(runs), 'run')} in {pluralize(rows, 'row')}."
        " Figures are means over the seeds of a row, but learning times are medians.",
        *_explain_variants(configs, has_variants=has_variants),
        *_explain_sweeps(has_sweeps=has_sweeps),
        *(["Intervals of differences are not adjusted."] if has_variants or has_sweeps else []),
        "A sibling is an image of the same patient or original: the last column is the share of"
        " test images that have one in training.",
        *_explain_cross_validation(runs),
        *_describe_unusual_settings(runs),
        *_compare_with_report_protocol(runs),
    ]
    return " ".join(sentences)


def list_report_notes(dataset: str) -> list[str]:
    """Return what is wrong with a report's figures, one line for each such variant."""
    rows = read_reported(dataset).values()
    return [f"Variant {row.variant}: {row.note}." for row in rows if row.note]


def list_departures(run: FinishedRun) -> list[str]:
    """List the settings in which a run departs from its data set's recipe.

    The recipe is the reports' protocol. `test_images` is among them where the number of
    test images is not the report's, and neither the split nor a limit explains that.
    """
    base = recipe(run.config.dataset).as_dict()
    names = [
        name
        for name, value in protocol(run).items()
        if name not in NOT_SETTINGS and value != base[name]
    ]
    if not {"split", "limit"}.intersection(names) and not _has_report_test_images(run):
        names.append("test_images")
    return names


def _has_report_test_images(run: FinishedRun) -> bool:
    """Return whether a run has as many test images as the report, but for a few."""
    total = TEST_IMAGES.get(run.config.dataset)
    if total is None:
        return True
    sizes = run.part_sizes
    return sizes is not None and abs(sizes[2] - total) <= MISSING_IMAGES * total


def _explain_variants(configs: Sequence[TrialConfig], *, has_variants: bool) -> list[str]:
    if not has_variants:
        return []
    return [
        "Each row is compared with the baseline (variant 1) on the same images and seeds. In each"
        f" table, p is adjusted by Holm's method over the variants{_name_other_family(configs)}."
    ]


def _explain_sweeps(*, has_sweeps: bool) -> list[str]:
    if not has_sweeps:
        return []
    return [
        "In the table of a sweep, each row is compared with the baseline and with the best on"
        " validation, on the same images and seeds, and p is adjusted by Holm's method over all of"
        " these comparisons. The effects of its fields are adjusted among themselves."
    ]


def _name_other_family(configs: Sequence[TrialConfig]) -> str:
    has_others = any(find_variant(config) is None for config in configs)
    return ", and separately over the other configs" if has_others else ""


def _describe_synthetic_images(dataset: str) -> list[str]:
    if dataset != "demo":
        return []
    return ["Its images are synthetic: drawn, not photographed."]


def _explain_cross_validation(runs: Sequence[FinishedRun]) -> list[str]:
    if not any(run.config.folds for run in runs):
        return []
    return [
        "In rows with folds, test loss and accuracy are computed over the test images of all folds"
        " together. If no fold is missing, each image is tested once per seed."
    ]


def _describe_unusual_settings(runs: Sequence[FinishedRun]) -> list[str]:
    base = recipe(runs[0].config.dataset).as_dict()
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in protocol(run).items():
            if name not in (*STATED_SETTINGS, *NOT_SETTINGS):
                values.setdefault(name, set()).add(format_setting(name, value))
    usual = {name: format_setting(name, base[name]) for name in values}
    unusual = [
        f"{name.replace('_', ' ')} {join_distinct(sorted(texts))} (usual: {usual[name]})"
        for name, texts in values.items()
        if texts != {usual[name]}
    ]
    return [f"Further settings: {'; '.join(unusual)}."] if unusual else []


def _compare_with_report_protocol(runs: Sequence[FinishedRun]) -> list[str]:
    if not read_reported(runs[0].config.dataset):
        return []
    departures_of_runs = [list_departures(run) for run in runs]
    departing_runs = [run for run, names in zip(runs, departures_of_runs, strict=True) if names]
    if not departing_runs:
        image_counts = _describe_test_image_counts(runs)
        return [f"This is the report's protocol, as far as it is known{image_counts}."]
    settings = join_distinct(
        name.replace("_", " ") for names in departures_of_runs for name in names
    )
    return [
        f"In {format_share(departing_runs, runs)}, the protocol is not the report's (different:"
        f" {settings}), so the accuracy neither confirms nor refutes a reported one."
    ]


def _describe_test_image_counts(runs: Sequence[FinishedRun]) -> str:
    total = TEST_IMAGES.get(runs[0].config.dataset)
    counts = sorted({run.part_sizes[2] for run in runs if run.part_sizes} - {total})
    return (
        f", on {join_distinct(map(str, counts))} test images instead of {total}" if counts else ""
    )
