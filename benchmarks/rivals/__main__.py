"""Compare the whole grid of seven variants with the usual alternatives.

    DATA_DIR=../shared/data python -m benchmarks.rivals
    DATA_DIR=../shared/data python -m benchmarks.rivals --dataset blood --files small

All train the same seven networks for as many steps on the same images, each in processes of its
own, one after the other:

    notebook    Keras: ImageDataGenerator from folders, a model of keras.applications, fit, evaluate
    tuner       the same models by KerasTuner's GridSearch, on arrays in memory
    torch       PyTorch: DataLoader with workers, channels last, no tracking; always random weights
    ours cold   study.grid, with MLflow on SQLite and the state saved after each epoch
    ours warm   the same again in a new folder, with the images that the first one decoded

Seconds are from a process's start to its end: imports, reading, building models, training,
validation after each epoch, and test. `small` files are those of the data set. `large` files are
JPEGs of 1,300 x 1,000 pixels made of them, which is about the size of the X-rays at Kaggle.
"""

import argparse
import importlib.util
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dotenv import load_dotenv
from mlflow.tracking import MlflowClient

from benchmarks.rivals.images import KINDS
from benchmarks.rivals.images import write_images
from benchmarks.rivals.job import Grid
from benchmarks.rivals.job import write_job
from benchmarks.rivals.table import describe_machine
from benchmarks.rivals.table import format_table
from benchmarks.rivals.table import OURS
from benchmarks.rivals.table import Run
from benchmarks.settings import make_config
from benchmarks.settings import make_parser
from benchmarks.settings import run_module
from study.common.command import run_command
from study.common.errors import StudyError
from study.common.folder_names import make_folder_name
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.data.split import PART_NAMES
from study.search.grid_plan import BY_VARIANT
from study.tracking import queries
from study.variants import format_flags
from study.variants import variant_fields
from study.variants import VARIANTS

# By rival: the module and the arguments that start it, and the packages that it needs besides ours
RIVALS = {
    "notebook": (("benchmarks.rivals.keras_loops", "notebook"), ()),
    "tuner": (("benchmarks.rivals.keras_loops", "tuner"), ("keras-tuner", "tensorboard")),
    "torch": (("benchmarks.rivals.torch_loop",), ("torch", "torchvision")),
}


def run_rival(who: str, configs: list[TrialConfig], folder: Path, images: Path) -> Run:
    """Run a rival's grid in an empty folder."""
    (module, *words), _ = RIVALS[who]
    job_file = folder / "job.json"
    result_file = folder / "result.json"
    write_job(configs, images, job_file)
    start = time.perf_counter()
    cpu = run_module(module, [*words, str(job_file), str(result_file)], folder, folder)
    seconds = time.perf_counter() - start
    return Run(images.name, who, seconds, cpu, Grid(**json.loads(result_file.read_text())))


def run_ours(who: str, base: TrialConfig, folder: Path, images: Path, cache: Path) -> Run:
    """Run the real command in an empty folder, and read what it recorded."""
    start = time.perf_counter()
    cpu = run_module("study.grid", format_flags(base, leave_out=BY_VARIANT), folder, cache)
    seconds = time.perf_counter() - start
    return Run(images.name, who, seconds, cpu, read_grid(folder, base, images))


def read_grid(folder: Path, base: TrialConfig, images: Path) -> Grid:
    """Read a grid from the MLflow file of a folder, in the order of training."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    grid = Grid()
    steps_per_epoch = math.ceil(sum(1 for _ in images.glob("train/*/*")) / base.batch_size)
    for run in queries.search_runs(client, "tags.finished = 'true'"):
        points = client.get_metric_history(run.info.run_id, "train_loss")
        grid.epochs.append([(point.timestamp / 1000, point.value) for point in points])
        grid.steps += steps_per_epoch * len(points)
        grid.test_accuracy.append(run.data.metrics["test_accuracy"])
    return grid


def run_turns(who: list[str], settings: TrialConfig, images: Path, folder: Path) -> Iterator[Run]:
    """Run each rival, and the study, once on one kind of files.

    Args:
        who: names of `RIVALS` and `OURS`, in the order to run them.
        settings: the base config.
        images: the folder of files.
        folder: does not exist yet, and is deleted at the end.
    """
    base = settings.replace(dataset=make_folder_name(images), split="official")
    configs = [base.replace(**variant_fields(each.number, base)) for each in VARIANTS]
    for name in who:
        own_folder = folder / name.replace(" ", "-")
        own_folder.mkdir(parents=True)
        if name in RIVALS:
            yield run_rival(name, configs, own_folder, images)
        else:
            yield run_ours(name, base, own_folder, images, folder / "cache")
    shutil.rmtree(folder)


def list_available(wanted: list[str]) -> list[str]:
    """Return the wanted rivals that are installed, in order, and print which are not."""
    installed = []
    for name, (_, packages) in RIVALS.items():
        missing = [
            package
            for package in packages
            if not importlib.util.find_spec(package.replace("-", "_"))
        ]
        if name in wanted and missing:
            print(f"{name} is left out: python -m pip install {' '.join(missing)}", flush=True)
        elif name in wanted:
            installed.append(name)
    return [*installed, *OURS] if "ours" in wanted else installed


def check_steps(runs: list[Run]) -> None:
    """Check that all runs trained the seven variants for the same number of steps.

    Raises:
        StudyError: a run differs from the first.
    """
    for run in runs:
        variants = len(run.grid.test_accuracy)
        steps = run.grid.steps
        if variants != len(VARIANTS) or steps != runs[0].grid.steps:
            raise StudyError(
                f"{run.who} is not like {runs[0].who}: {variants} variants, {steps} steps"
            )


def compare_rivals(args: argparse.Namespace) -> None:
    """Run everything, check that it is comparable, and print the table."""
    who = list_available(args.only)
    settings = make_config(
        args,
        lr=recipe("chest").lr,  # of the recipe for folders, because the grid has no --lr
        epochs=args.epochs,
        weights=args.weights if args.weights == "none" else str(Path(args.weights).resolve()),
    )
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        root = Path(name)
        for kind in args.files:
            write_images(args.dataset, args.images, root / kind, kind)
        for repeat in range(args.repeats):
            for kind in args.files:
                for run in run_turns(who, settings, root / kind, root / f"{kind}-{repeat}"):
                    print(f"{run.files}, {run.who}: {run.seconds:.1f} s", flush=True)
                    runs.append(run)
        sizes = [sum(1 for _ in (root / args.files[0]).glob(f"{part}/*/*")) for part in PART_NAMES]
    check_steps(runs)
    print(
        f"\n{args.dataset}, {settings.backbone}, {settings.image_size} px, batch "
        f"{settings.batch_size}, {settings.epochs} epochs; {sizes[0]} images to train, "
        f"{sizes[1]} to validate, {sizes[2]} to test; {runs[0].grid.steps} steps each"
    )
    print(describe_machine(), "\n")
    print("\n".join(format_table(runs, who)))


def main() -> None:
    """Run the command."""
    parser = make_parser(__doc__)
    parser.prog = "python -m benchmarks.rivals"
    add = parser.add_argument
    names = (*RIVALS, "ours")
    add("--images", type=int, default=200, help="about how many, 0 for all [default: 200]")
    add("--epochs", type=int, default=2, help="of each variant [default: 2]")
    add("--weights", default="none", help="none, or FILE of the backbone [default: none]")
    add("--files", nargs="+", choices=KINDS, default=KINDS, help="default: both kinds")
    add("--only", nargs="+", choices=names, default=names, help="default: all of them")
    add("--repeats", type=int, default=1, help="of everything; the table has medians [default: 1]")
    compare_rivals(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
