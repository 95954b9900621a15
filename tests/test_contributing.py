"""The recipe for a new knob in CONTRIBUTING.md, followed to the letter on a copy of the code."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from study.config.fingerprint import fingerprint
from study.config.trial_config import recipe
from study.search.grid_plan import plan_variants
from study.search.space import make_space
from tests.support.commands import ROOT

CHECK = """
import json, sys
from study.config.fingerprint import fingerprint
from study.config.trial_config import recipe
from study.search.grid_flags import parse_sweep
from study.search.grid_plan import plan_variants
from study.search.space import make_space
base = recipe("demo")
prints = [fingerprint(config, "digest") for config in (base, base.replace(noise=0.25))]
try:
    base.replace(noise=0.6)
except Exception as error:
    message = str(error)
names = [plan_variants(config).name("digest") for config in (base, base.replace(noise=0.25))]
space = [make_space(config, ["noise"]).name() for config in (base, base.replace(noise=0.25))]
sweep = parse_sweep(["noise=0,0.25"], [], "demo")
swept = [sweep.fields["noise"], sweep.baseline["noise"]]
json.dump([prints, message, swept, names, space], sys.stdout)
"""


def read_knob() -> str:
    """The code of the recipe, indented as a field of the class."""
    recipe_text = (ROOT / "CONTRIBUTING.md").read_text().split("### Add a knob")[1]
    match = re.search(r"```python\n(.*?)```", recipe_text, re.DOTALL)
    assert match is not None
    return textwrap.indent(textwrap.dedent(match[1]), "    ")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code in which the knob was added."""
    folder = tmp_path_factory.mktemp("contributor")
    shutil.copytree(ROOT / "study", folder / "study")
    path = folder / "study" / "config" / "trial_config.py"
    before, method, after = path.read_text().partition("    def __post_init__")
    path.write_text(before.rstrip() + "\n" + read_knob() + "\n" + method + after)
    return folder


def run_python(folder: Path, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={"PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_added_knob_has_a_flag_with_its_help_and_limits(copy: Path) -> None:
    output = " ".join(run_python(copy, "-m", "study.offline", "--help").split())
    text = "--noise X standard deviation of noise on the pixels, in training only (0 to 0.5)"
    assert text in output


def test_added_knob_at_its_default_keeps_fingerprints_and_names_of_studies(copy: Path) -> None:
    prints, message, swept, grids, searches = json.loads(run_python(copy, "-c", CHECK))
    base = recipe("demo")
    ours = (
        fingerprint(base, "digest"),
        plan_variants(base).name("digest"),
        make_space(base).name(),
    )
    assert (prints[0], grids[0], searches[0]) == ours
    assert not {prints[1], grids[1], searches[1]} & set(ours)
    assert message == "noise=0.6 is out of range: use 0.0 to 0.5"
    assert swept == [[0.0, 0.25], 0.0]


def test_files_that_the_recipes_name_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`([\w/]+/[\w/]*\.(?:py|csv|md))`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("TrialConfig", "study/config/trial_config.py"),
        ("RECIPES", "study/config/trial_config.py"),
        ("make_ranges", "study/search/space.py"),
        ("SEARCHED_FIELDS", "study/search/search_plan.py"),
        ("BACKBONES", "study/config/backbones.py"),
        ("APPLICATIONS", "study/training/application.py"),
        ("_scale_pixels", "study/training/model.py"),
        ("DATASETS", "study/data/registry.py"),
        ("SAMPLERS", "study/search/samplers.py"),
        ("NEEDED", "study/search/samplers.py"),
        ("PRUNERS", "study/search/pruning.py"),
        ("RULES", "study/search/pruning.py"),
        ("SAMPLER_NAMES", "study/search/search_plan.py"),
        ("PRUNER_NAMES", "study/search/search_plan.py"),
        ("COLUMNS", "pipelines/compare/columns.py"),
        ("_make_text_column", "pipelines/compare/columns.py"),
    ],
)
def test_names_that_the_recipes_use_stand_in_their_files(name: str, path: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert f"`{name}`" in text
    assert path in text
    assert re.search(rf"^(?:def |class |){name}\b", (ROOT / path).read_text(), re.MULTILINE)
