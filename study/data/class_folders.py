"""List the images in class folders, and say which files are left out."""

import re
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from study.common.errors import DataError
from study.data.directory import count_endings
from study.data.directory import describe_left_out
from study.data.directory import is_folder
from study.data.directory import is_image_name
from study.data.directory import scan_folder
from study.data.directory import SIDE_ENDINGS
from study.data.directory import USUAL_ENDINGS
from study.data.listing import Entry
from study.data.names import check_name
from study.data.names import check_similar_labels
from study.data.names import escape_name

# The end of a mask's name, after the name of the image that it is of
_MASK_SUFFIX = re.compile(
    r"[ _-](mask|seg|segmentation|label|annotation|gt)s?([ _-]?\d+)?$", re.IGNORECASE
)


class ClassFolder(NamedTuple):
    """A folder with the images of one class, in one official part if there are any."""

    label: str
    part: str = ""  # as in `Entry`
    part_folder: str = ""  # its name on the disk


class ListedImages(NamedTuple):
    """The image files of all class folders, sorted, and notes on the files left out."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def list_images(root: Path, folders: Sequence[ClassFolder]) -> ListedImages:
    """List the images that lie directly in the class folders.

    Raises:
        DataError: there are fewer than two classes; their names look alike or cannot be written; a
            class has no image, none in train, or more other files than images; a folder may not be
            read, or holds folders (whose images would be lost).
    """
    labels = sorted({folder.label for folder in folders})
    if len(labels) < 2:
        raise DataError(f"{root} has one class only, {labels[0]!r}: a study needs two or more")
    for label in labels:
        check_name(label, "the class folder")
    notes = check_similar_labels(_group_parts_by_label(folders))
    entries: list[Entry] = []
    masks: list[str] = []
    others: dict[str, Counter[str]] = defaultdict(Counter)  # label -> ending -> files left out
    for folder in folders:
        names = _list_file_names(root, folder)
        image_names = [name for name in names if is_image_name(name)]
        entries += [_make_entry(folder, name) for name in image_names]
        masks += [_make_entry(folder, name).image for name in _select_masks(image_names)]
        others[folder.label] += count_endings(names) - count_endings(image_names)
    _check_classes(root, labels, entries, others)
    _check_training_images(root, folders, entries)
    if left_out := sum(others.values(), Counter()):
        notes.append(f"{describe_left_out(left_out)} in class folders")
    notes += _note_masks(masks)
    return ListedImages(tuple(sorted(entries)), tuple(notes))


def note_stray_images(root: Path, folders: Iterable[str] = ("",)) -> tuple[str, ...]:
    """Return notes on the images in folders above the class folders."""
    names = [
        file.name
        for folder in folders
        for file in scan_folder(root / folder)
        if is_image_name(file.name) and not is_folder(file)
    ]
    return (f"{describe_left_out(count_endings(names))} above the class folders",) if names else ()


def _list_file_names(root: Path, folder: ClassFolder) -> list[str]:
    path = root / folder.part_folder / folder.label
    files = scan_folder(path)
    for file in files:
        if is_folder(file):
            raise DataError(
                f"class folder {path} holds a folder, {file.name!r}: "
                "put all images of a class directly in its folder, and give the folder above"
            )
    return [file.name for file in files]


def _select_masks(names: Sequence[str]) -> list[str]:
    """Return the names that are another name of the folder and a suffix, as `a_mask.png`."""
    stems = [name.rpartition(".")[0] for name in names]
    images = set(stems)
    originals = [_MASK_SUFFIX.sub("", stem) for stem in stems]
    return [
        name
        for name, stem, original in zip(names, stems, originals, strict=True)
        if original != stem and original in images
    ]


def _note_masks(masks: Sequence[str]) -> list[str]:
    if not masks:
        return []
    noun = "file looks like a mask" if len(masks) == 1 else "files look like masks"
    return [
        f"{len(masks)} {noun} of other images, such as {escape_name(min(masks))}, and would be "
        "trained on: move them away if they are masks"
    ]


def _make_entry(folder: ClassFolder, name: str) -> Entry:
    path = "/".join(part for part in (folder.part_folder, folder.label, name) if part)
    return Entry(path, folder.label, folder.part)


def _check_classes(
    root: Path,
    labels: Sequence[str],
    entries: Iterable[Entry],
    others: Mapping[str, Mapping[str, int]],
) -> None:
    """Raise DataError for a class without images or with more other files."""
    image_counts = Counter(entry.label for entry in entries)
    for label in labels:
        left_out = {e: n for e, n in others[label].items() if e not in SIDE_ENDINGS}
        if image_counts[label] and sum(left_out.values()) <= image_counts[label]:
            continue
        found = f"; {describe_left_out(left_out)}" if left_out else ""
        if image_counts[label]:
            raise DataError(
                f"class {label!r} in {root} has {image_counts[label]} images and more other "
                f"files{found}: convert these to PNG, or move them away"
            )
        raise DataError(
            f"class {label!r} in {root} has no image{found}: add some "
            f"({', '.join(ending[1:] for ending in USUAL_ENDINGS)}) or remove its folder"
        )


def _check_training_images(
    root: Path, folders: Iterable[ClassFolder], entries: Iterable[Entry]
) -> None:
    """Raise DataError if there is a train folder, and a class has no image in it."""
    if not any(folder.part == "train" for folder in folders):
        return
    trained_labels = {entry.label for entry in entries if entry.part == "train"}
    for entry in entries:
        if entry.label not in trained_labels:
            raise DataError(
                f"class {entry.label!r} in {root} has images in {entry.part}, but none in train: "
                f"add some there, or move {entry.image.rsplit('/', 1)[0]!r} away if it is no class"
            )


def _group_parts_by_label(folders: Iterable[ClassFolder]) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        parts[folder.label].add(folder.part)
    return parts
