"""The real command `python -m study.data.audit`: its report, its files, and that it goes on."""

import csv
import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.common.cache import clear_cache
from study.common.command import run_command
from study.data.audit import near_duplicates
from study.data.audit.__main__ import main
from study.data.audit.findings import add_twins
from study.data.audit.findings import measure_agreement
from study.data.audit.findings import name_groups
from study.data.audit.splits import compute_widest_interval
from study.data.audit.texts import escape_unprintable
from study.data.chest import parse_patient
from study.data.prepare import prepare
from study.data.split import count_leaking_images
from study.data.split import make_split
from tests.data.test_decode import break_files
from tests.support.commands import finish
from tests.support.commands import run
from tests.support.commands import run_here
from tests.support.commands import start
from tests.support.commands import wait_until
from tests.support.images import chest
from tests.support.images import class_folders
from tests.support.images import write_noise_image
from tests.support.images import write_plain_image

ODD = (
    *("with space.png", "Zürich 東京.png", "new\nline.png", "back\\slash.png", "re\rturn.png"),
    *("comma, 'quote' and \"quotes\".png", "<script>alert(1)</script>.png".replace("/", "")),
    *("a&amp;b.png", "\x1b[31mred.png", "\u202egnp.lru.png", "=1+1.png", " blank.png"),
    os.fsdecode(b"caf\xe9.png"),
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_cache: Path) -> None:
    """A cache of its own for every test, with the demo drawn."""
    if (session_cache / "demo").is_dir():
        shutil.copytree(session_cache / "demo", tmp_path / "cache" / "demo")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which nothing is near and which need not wait to learn it."""
    monkeypatch.setattr(near_duplicates, "find_near_groups", lambda *_: [])


def audit(
    monkeypatch: pytest.MonkeyPatch, dataset: str, out: str = "out", *flags: str
) -> dict[str, object]:
    """Runs the command in this process; what it wrote as JSON."""
    monkeypatch.setattr(sys, "argv", ["audit", "--dataset", dataset, "--out", out, *flags])
    assert run_command(main) == 0
    return json.loads(Path(out, "audit.json").read_bytes())  # type: ignore[no-any-return]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def photographs(root: Path, copies: int = 4) -> Path:
    """Class folders of turned copies of pictures with much texture; named by no pattern."""
    number = 0
    for label, seed in (("cat", 1), ("dog", 2)):
        for scene in range(3):
            rng = np.random.default_rng((seed, scene))
            blocks = rng.integers(0, 256, (24, 32, 3), np.uint8)
            whole = Image.fromarray(blocks).resize((256, 192), Image.Resampling.BICUBIC)
            for copy in range(copies):
                (root / label).mkdir(parents=True, exist_ok=True)
                turned = whole.rotate(20 * copy, Image.Resampling.BICUBIC)
                turned.save(root / label / f"{number * 7 % 100:02}.png")
                number += 1
    return root


def plain(root: Path, per_class: int) -> Path:
    """Class folders of different one-color images, in which no search takes long."""
    for number in range(2 * per_class):
        color = (number % 256, number // 256, 0)
        write_plain_image(root / "ab"[number % 2] / f"{number}.png", color, size=8)
    return root


# --- the report and its files -------------------------------------------------------------------


def test_audit_of_the_demo_finds_its_groups_and_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepare("demo", 32)
    assert data.groups is not None
    originals = [data.images[start : start + 52] for start in range(0, 624, 52)]
    monkeypatch.setattr(
        near_duplicates, "find_near_groups", lambda *_: [*originals[:11], originals[11][:20]]
    )
    found: dict = audit(monkeypatch, "demo")  # type: ignore[type-arg]
    printed, out = capsys.readouterr().out, tmp_path / "out"
    assert printed.splitlines()[0] == "Audit of demo"
    assert max(map(len, printed.splitlines())) <= 100
    assert sorted(contents(out)) == ["audit.html", "audit.json", "groups.csv"]
    assert found["digest"] == data.digest
    assert (found["files"]["listed"], found["files"]["usable"]) == (624, 624)
    assert found["files"]["formats"] == {"PNG": 624}
    assert found["files"]["sizes"] == {"64x64": 624}
    assert [c["usable"] for c in found["classes"]] == [156] * 4
    groups = found["groups"]
    assert (groups["source"], groups["count"], groups["largest"]) == ("drawn original", 12, 52)
    agreement = found["agreement"]
    assert agreement["known_pairs"] == 12 * 1326  # pairs of 52
    assert agreement["precision"] == 1.0
    assert agreement["recall"] == round((11 * 1326 + 190) / (12 * 1326), 4)
    pooled, official, grouped = found["protocols"]
    assert pooled["leaking"] == count_leaking_images(data, make_split(data, "pooled", 0))
    assert "no official train and test" in official["impossible"]
    assert "The official split is not possible: demo has no" in printed
    assert (grouped["leaking"], grouped["impossible"]) == (0, "")
    assert pooled["accuracy"] == {"groups": 12, "low": 0.2538, "high": 0.7462}
    assert "The pooled split leaks" in printed
    assert (out / "audit.html").stat().st_size < 2_000_000
    with (out / "groups.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["image"], row["group"]) for row in rows] == list(
        zip(data.images, data.groups, strict=True)
    )


@pytest.mark.usefixtures("no_search")
def test_audit_of_chest_finds_patients_and_identical_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = chest(tmp_path / "data" / "chest_xray")
    twin = root / "test" / "NORMAL" / "IM-9999-0001.jpeg"
    shutil.copy(root / "train" / "NORMAL" / "IM-0000-0001.jpeg", twin)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    found: dict = audit(monkeypatch, "chest")  # type: ignore[type-arg]
    assert found["groups"]["source"] == "patient, from the file name"
    assert found["classes"][0]["parts"] == {"test": 11, "train": 10, "val": 10}
    pair = ["test/NORMAL/IM-9999-0001.jpeg", "train/NORMAL/IM-0000-0001.jpeg"]
    assert found["identical_bytes"] == [pair]
    assert found["identical_pixels"] == []
    assert found["agreement"]["identical_spanning"] == [pair]
    assert [p["impossible"] for p in found["protocols"]] == ["", "", ""]
    assert found["protocols"][1]["sizes"]["test"] == 21


def test_groups_found_by_an_audit_allow_the_grouped_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = photographs(tmp_path / "pets", copies=2)
    (root / "cat" / "empty.png").write_bytes(b"")
    first: dict = audit(monkeypatch, f"folder:{root}")  # type: ignore[type-arg]
    assert first["dataset"] == f"folder:pets-{first['digest'][:6]}"
    assert not first["groups"]["known"]
    assert first["agreement"] is None
    assert (first["groups"]["count"], first["groups"]["largest"]) == (6, 2)
    printed = capsys.readouterr().out
    told = " ".join(printed.split()) + page_text(Path("out"))
    assert told.count("pictures of one patient are in training and in test is not known") == 2
    assert "0.0 %" not in told
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  ")][-2:]
    assert commands == [
        f"cp out/groups.csv {root}/groups.csv",
        f"python -m study.grid --dataset folder:{root} --split grouped",
    ]
    subprocess.run(commands[0], shell=True, check=True)
    data = prepare(f"folder:{root}", 8)
    assert data.groups is not None
    assert count_leaking_images(data, make_split(data, "grouped", 0)) == 0
    monkeypatch.setattr(Image, "open", None)  # no image is looked at again
    second: dict = audit(monkeypatch, f"folder:{root}", "second")  # type: ignore[type-arg]
    source = "groups.csv, written by an audit, by near-duplicates"
    assert (second["groups"]["source"], second["groups"]["count"]) == (source, 6)
    assert second["agreement"] is None  # groups are not compared with themselves
    told = capsys.readouterr().out + page_text(Path("second"))
    assert told.count("was written by an audit, by near-duplicates: nothing to compare with.") == 2
    assert "0.0 %" not in told
    assert contents(Path("second"))["groups.csv"] == contents(Path("out"))["groups.csv"]
    assert second["digest"] == data.digest
    for before, after in zip(first["protocols"], second["protocols"], strict=True):
        assert before | {"impossible": ""} == after | {"impossible": ""}


# --- patients in file names ---------------------------------------------------------------------

PERSON = r"^(?P<group>person\d+)"


@pytest.fixture
def xrays(tmp_path: Path) -> Path:
    """40 patients with three pictures each, a twin of one among those of another, and one more."""
    for number in range(120):
        label = ("NORMAL", "PNEUMONIA")[number // 60]
        name = f"person{number // 3}_{('virus', 'bacteria')[number % 2]}_{number}.png"
        write_noise_image(tmp_path / "x rays" / label / name, number)
    root = tmp_path / "x rays"
    shutil.copy(root / "NORMAL/person1_virus_4.png", root / "NORMAL/person7_virus_999.png")
    write_noise_image(root / "NORMAL" / "other.png", 1000)
    return root


@pytest.mark.usefixtures("no_search")
def test_audit_asks_whether_file_names_tell_patients_and_counts_both(
    xrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict = audit(monkeypatch, f"folder:{xrays}")  # type: ignore[type-arg]
    printed = capsys.readouterr().out
    text = " ".join(printed.split())
    question = "File names suggest 40 patients, such as person7 of person7_bacteria_21.png: is that"
    suggestion = found["suggestion"]
    assert [p["regex"] for p in suggestion["patterns"]] == [PERSON]
    assert suggestion["unmatched"] == ["NORMAL/other.png"]
    pooled, _, grouped = suggestion["protocols"]
    assert min(pooled["leaking"], grouped["leaking"]) > 10
    assert suggestion["grouped"]["leaking"] == 0
    assert {p["leaking"] for p in found["protocols"]} == {0}
    for told in (text, " ".join(page_text(Path("out")).split())):
        assert question in told
        assert f"{grouped['leaking']} of {grouped['sizes']['test']}" in told
        assert "none found" in told
        assert "span several of these groups: 1 group, 2 images in all" in told
    command = f"python -m study.data.audit --dataset 'folder:{xrays}' --groups-from '{PERSON}'"
    assert f"\n  {command} --out out\n" in printed


@pytest.mark.usefixtures("no_search")
def test_groups_from_file_names_are_written_joined_and_never_leak(
    xrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--groups-from", PERSON)
    found: dict = audit(monkeypatch, f"folder:{xrays}", "out", *flags)  # type: ignore[type-arg]
    text = " ".join(capsys.readouterr().out.split())
    assert "keep apart, such as person1 and person7 (1 group): they count as one group" in text
    assert "1 of 122 file names match no --groups-from, such as 'other.png'" in text
    assert f"cp out/groups.csv '{xrays}/groups.csv'" in text
    assert found["suggestion"] is None
    assert found["groups"]["count"] == 40 - 1 + 1  # two are joined, and other.png is alone
    assert [p["leaking"] > 10 for p in found["protocols"][::2]] == [True, False]
    shutil.copy("out/groups.csv", xrays)
    data = prepare(f"folder:{xrays}", 8)
    split = make_split(data, "grouped", 0)
    patients = [
        {data.images[row].split("_")[0].replace("person7", "person1") for row in rows}
        for rows in (split.train, split.val, split.test)
    ]
    assert sum(map(len, patients)) == len(set.union(*patients))
    again: dict = audit(monkeypatch, f"folder:{xrays}", "again")  # type: ignore[type-arg]
    source = "groups.csv, written by an audit, from file names"
    assert again["groups"]["source"] == source
    assert (again["agreement"], again["suggestion"]) == (None, None)
    assert contents(Path("again"))["groups.csv"] == contents(Path("out"))["groups.csv"]


@pytest.mark.parametrize(
    ("dataset", "pattern", "words"),
    [
        ("folder", "(?P<group>x", "not a regular expression"),
        ("folder", "(?P<group>nobody)", "gives no group for any file name"),
        ("folder", r"(?P<group>person1\d_)", "file names match no --groups-from"),
        ("demo", ".", "does not say which part"),
        ("demo", "(?P<group>.)", "works only with a folder: give the path of demo's images"),
        ("owned", PERSON, "has groups of its own (groups.csv)"),
    ],
)
def test_groups_from_that_cannot_be_used_is_refused_before_the_scan(
    xrays: Path, tmp_path: Path, dataset: str, pattern: str, words: str
) -> None:
    if dataset == "owned":
        images = [f"{file.parent.name}/{file.name}" for file in xrays.rglob("*.png")]
        own = "".join(f"{image},Ann\n" for image in images)
        (xrays / "groups.csv").write_text(f"image,group\n{own}")
    name = "demo" if dataset == "demo" else f"folder:{xrays}"
    flags = ("--dataset", name, "--groups-from", pattern)
    done = run_here("study.data.audit", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "cache" / "audit").exists()
    assert not (tmp_path / "audits").exists()


@pytest.mark.shared
@pytest.mark.usefixtures("no_search")
def test_real_xrays_in_a_folder_leak_by_patient_until_names_give_groups(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "xrays"
    for label in ("NORMAL", "PNEUMONIA"):
        (root / label).mkdir(parents=True)
        files = sorted((shared_dir / "data" / "chest_xray" / "train" / label).iterdir())
        counts = Counter(parse_patient(file.name) for file in files)
        files.sort(key=lambda file: -counts[parse_patient(file.name)])
        for file in files[:200]:
            shutil.copy(file, root / label)
    found: dict = audit(monkeypatch, f"folder:{root}")  # type: ignore[type-arg]
    suggestion = found["suggestion"]
    assert min(suggestion["protocols"][n]["leaking"] for n in (0, 2)) > 30  # of 80
    flags = [f"--groups-from={pattern['regex']}" for pattern in suggestion["patterns"]]
    audit(monkeypatch, f"folder:{root}", "named", *flags)
    shutil.copy("named/groups.csv", root)
    data = prepare(f"folder:{root}", 8)
    patients = tuple(parse_patient(image) or image for image in data.images)
    by_patient = dataclasses.replace(data, groups=patients)
    assert count_leaking_images(by_patient, make_split(data, "grouped", 0)) == 0
    assert count_leaking_images(by_patient, make_split(data, "pooled", 0)) > 30


# --- more of the report -------------------------------------------------------------------------


@pytest.mark.usefixtures("no_search")
def test_identical_bytes_and_identical_pixels_are_reported_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "set", {"a": 6, "b": 6})
    shutil.copy(root / "a" / "000.png", root / "a" / "same bytes.png")
    with Image.open(root / "a" / "001.png") as image:
        image.save(root / "b" / "same pixels.bmp")
    found: dict = audit(monkeypatch, f"folder:{root}")  # type: ignore[type-arg]
    assert found["identical_bytes"] == [["a/000.png", "a/same bytes.png"]]
    assert found["identical_pixels"] == [["a/001.png", "b/same pixels.bmp"]]
    assert found["mixed"] == [["a/001.png", "b/same pixels.bmp"]]
    assert sorted(map(sorted, found["near"])) == [
        ["a/000.png", "a/same bytes.png"],
        ["a/001.png", "b/same pixels.bmp"],
    ]
    assert "a label may be wrong" in Path("out/audit.html").read_text()


@pytest.mark.usefixtures("no_search")
def test_broken_files_are_named_in_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = class_folders(tmp_path / "set", {"a": 9, "b": 9})
    broken = break_files(root / "a")
    found: dict = audit(monkeypatch, f"folder:{root}")  # type: ignore[type-arg]
    skipped = prepare(f"folder:{root}", 8).skipped
    assert [tuple(pair) for pair in found["files"]["unusable"]] == list(skipped)
    assert found["files"]["usable"] == 18
    text, printed = page_text(Path("out")), capsys.readouterr().out
    for name in broken:
        assert f"a/{name}" in text
        assert f"a/{name}" in printed


@pytest.mark.usefixtures("no_search")
def test_unusual_files_are_counted_with_an_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = class_folders(tmp_path / "set", {"a": 9, "b": 9})
    for name in ("x.png", "y.png"):
        Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(root / "b" / name)
    found: dict = audit(monkeypatch, f"folder:{root}")  # type: ignore[type-arg]
    assert found["files"]["unusual"] == [
        [f"b/{name}", "transparency is ignored"] for name in ("x.png", "y.png")
    ]
    for text in (page_text(Path("out")), capsys.readouterr().out):
        assert "2 files of unusual form" in text
        assert "transparency is ignored" in text
        assert "b/x.png" in text


def test_audit_of_broken_files_alone_calls_every_split_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        write_plain_image(tmp_path / "set" / name).write_bytes(b"")
    found: dict = audit(monkeypatch, f"folder:{tmp_path / 'set'}")  # type: ignore[type-arg]
    assert (found["files"]["listed"], found["files"]["usable"]) == (3, 0)
    assert all(protocol["impossible"] for protocol in found["protocols"])
    write_noise_image(tmp_path / "set" / "a" / "2.png", 1)  # and a class without a usable image
    found = audit(monkeypatch, f"folder:{tmp_path / 'set'}")
    assert [c["usable"] for c in found["classes"]] == [1, 0]
    reason = "class 'a' is missing from val in the pooled split"
    assert found["protocols"][0]["impossible"].startswith(reason)


def test_audit_of_one_image_per_class_calls_the_split_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "set", {"a": 1, "b": 1})
    found: dict = audit(monkeypatch, f"folder:{root}")  # type: ignore[type-arg]
    assert (found["groups"]["count"], found["near"]) == (2, [])
    assert "missing" in found["protocols"][0]["impossible"]


# --- names --------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Text, tags, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags, self.sources = "", [], []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_text(folder: Path) -> str:
    """The visible text of a page that must be well-formed and load nothing."""
    page = Page()
    page.feed((folder / "audit.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert "script" not in page.tags
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    return page.text.replace("\u00a0", " ")


@pytest.mark.usefixtures("no_search")
def test_odd_file_names_are_escaped_in_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = class_folders(tmp_path / "<b> & sons", {"a": 4, "b": 4})
    for number, name in enumerate(ODD):
        write_noise_image(root / "a" / "new.png", 50 + number).rename(root / "a" / name)
        (root / "b" / name).write_bytes(b"")
    found: dict = audit(monkeypatch, f"folder:{root}")  # type: ignore[type-arg]
    assert {image for image, _ in found["files"]["unusable"]} == {f"b/{name}" for name in ODD}
    text, raw = page_text(Path("out")), Path("out/audit.html").read_text(encoding="utf-8")
    assert "<script" not in raw
    assert "\x1b" not in raw
    assert "\u202e" not in raw
    for name in ODD:
        assert escape_unprintable(f"b/{name}") in text
    assert "\x1b" not in capsys.readouterr().out
    shutil.copy("out/groups.csv", root)
    groups = prepare(f"folder:{root}", 8).groups  # every name is found in the file
    assert groups is not None
    assert len(set(groups)) == found["groups"]["count"] == 8 + len(ODD)


def test_audit_with_an_ascii_terminal_escapes_other_letters(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "東京", {"a": 1, "bé": 1})
    (root / "a" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    settings = {"PYTHONIOENCODING": "ascii"}
    done = run("study.data.audit", "--dataset", f"folder:{root}", cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    assert "\\u6771" in done.stdout
    (file,) = tmp_path.glob("audits/東京-*/audit.json")
    digest = json.loads(file.read_bytes())["digest"]
    assert file.parent.name == f"東京-{digest[:6]}"


# --- again, and after a kill --------------------------------------------------------------------


def test_repeated_audit_reads_no_image_and_writes_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = photographs(tmp_path / "pets")
    monkeypatch.setattr(
        near_duplicates, "find_near_groups", lambda *_: [("cat/00.png", "cat/07.png")]
    )
    audit(monkeypatch, f"folder:{root}")
    first = capsys.readouterr().out
    before = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", None)
        patch.setattr(near_duplicates, "find_near_groups", None)
        audit(monkeypatch, f"folder:{root}")
    assert contents(tmp_path / "out") == before
    assert capsys.readouterr().out == first
    copy = shutil.copytree(root, tmp_path / "elsewhere" / "pets")  # the place does not matter
    assert clear_cache() > 0
    audit(monkeypatch, f"folder:{copy}")
    assert contents(tmp_path / "out") == before
    assert str(tmp_path) not in str(before)


def test_audit_killed_in_the_scan_continues_from_its_records(tmp_path: Path) -> None:
    root = plain(tmp_path / "set", 700)
    flags = ("study.data.audit", "--dataset", f"folder:{root}")
    process = start(*flags, cwd=tmp_path)

    def records() -> int:
        return sum(file.read_bytes().count(b"\n") for file in work.glob("*/scan-*.jsonl"))

    work = tmp_path / "cache" / "audit"
    wait_until(lambda: records() > 100, process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    kept = records()
    assert 100 < kept < 1400
    assert not any((tmp_path / "audits").rglob("*.*"))
    done = run_here(*flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert records() == 1400  # none was made twice
    (file,) = tmp_path.glob("audits/set-*/audit.json")
    found = json.loads(file.read_bytes())
    assert found["files"]["usable"] == 1400


def test_output_folder_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    root = plain(tmp_path / "set", 2)
    (tmp_path / "taken").write_text("a file")
    flags = ("--dataset", f"folder:{root}", "--out", "taken")
    done = run_here("study.data.audit", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot write to taken" in done.stderr
    assert "--out" in done.stderr
    assert not (tmp_path / "cache" / "audit").exists()


def test_audit_stopped_by_ctrl_c_says_that_it_continues(tmp_path: Path) -> None:
    root = plain(tmp_path / "set", 700)
    process = start("study.data.audit", "--dataset", f"folder:{root}", cwd=tmp_path)
    work = tmp_path / "cache" / "audit"
    wait_until(lambda: any(work.glob("*/scan-*.jsonl")), process)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.returncode == 130
    assert "stopped: repeat the command to continue" in done.stderr
    assert "Traceback" not in done.stderr


# --- the arithmetic -----------------------------------------------------------------------------


def test_agreement_counts_pairs_of_images() -> None:
    group_of = {"a": "1", "b": "1", "c": "1", "d": "2", "e": "2", "f": "3"}
    agreement = measure_agreement([("a", "b", "d"), ("e", "f")], [("a", "f")], group_of)
    assert (agreement.found_pairs, agreement.known_pairs, agreement.both) == (4, 4, 1)
    assert (agreement.precision, agreement.recall) == (0.25, 0.25)
    assert agreement.spanning == [("a", "b", "d"), ("e", "f")]
    assert agreement.identical_spanning == [("a", "f")]
    assert measure_agreement([], [], {"a": "1"}).precision is None


def test_identical_images_join_the_group_of_their_representative() -> None:
    near_groups = [("a", "c"), ("x", "y")]
    twins = [("a", "b"), ("m", "n", "o")]
    assert add_twins(near_groups, twins) == [("a", "b", "c"), ("m", "n", "o"), ("x", "y")]
    names = name_groups(["a", "b", "c", "z"], [("a", "b")])
    assert names["a"] == names["b"]
    assert len(set(names.values())) == 3


@pytest.mark.parametrize("groups", [1, 2, 5, 24, 71, 2500])
def test_widest_interval_equals_wilsons_at_its_widest(groups: int) -> None:
    def wilson(hits: int) -> tuple[float, float]:
        z, n, p = 1.959964, groups, hits / groups
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)

    found = compute_widest_interval(groups)
    widest = max(high - low for low, high in map(wilson, range(groups + 1)))
    assert found.high - found.low == pytest.approx(widest, abs=2e-4)
