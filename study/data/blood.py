"""Photographs of stained white blood cells in 4 classes (BCCD, MIT licence).

The set holds 12,515 images, which are augmented copies of 348 photographs.
"""

import csv
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from study.data.kaggle import find_image_root
from study.data.kaggle import has_repeated_names
from study.data.kaggle import KaggleSet
from study.data.kaggle import list_all_parts
from study.data.listing import DataSet
from study.data.listing import Entry
from study.data.listing import Listing

KAGGLE = KaggleSet(
    name="blood",
    handle="paultimothymooney/blood-cells",
    roots=("dataset2-master/dataset2-master/images", "dataset2-master/images", "images"),
    parts=("TRAIN", "TEST", "TEST_SIMPLE"),
    labels=("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"),
)


GROUPS = "photographed field (348 photographs show 313), from blood_sources.csv"
# written by study.data.blood_sources
SOURCES = Path(__file__).with_name("blood_sources.csv")


# Share of the file names that must be those of Kaggle's set. A few images may have been added.
MIN_KNOWN = 0.95


def find_images() -> Listing:
    """Return all images of TRAIN, TEST and TEST_SIMPLE, grouped by field.

    A field is the part of the smear that a photograph shows. The number in a file name does not
    identify the original photograph, so grouping by it would leak. The groups of other images in
    the same layout are not known.

    Raises:
        DataError: the data set cannot be found.
    """
    root = find_image_root(KAGGLE)
    entries, notes = list_all_parts(KAGGLE, root)
    fields = _read_fields()
    known_count = sum(entry.image in fields for entry in entries)
    if known_count < MIN_KNOWN * len(entries):
        # by the first rules, one known name was enough, and repeated names were left out
        is_new = known_count > 0 or has_repeated_names(entries)
        return Listing(
            KAGGLE.url,
            root,
            entries,
            why_no_groups=f"{known_count} of {len(entries)} files have a name of Kaggle's set",
            rules="2" if is_new else "",
            notes=notes,
        )
    notes += _note_repeated_names(entries) + _note_other_images(entries, fields)
    groups = {
        entry.image: fields.get(entry.image) or _name_unassigned_group(entry) for entry in entries
    }
    return Listing(
        KAGGLE.url,
        root,
        entries,
        groups,
        groups_from=GROUPS,
        one_per_name=True,
        notes=notes,
    )


def _read_fields() -> dict[str, str]:
    """Return the field of each image of Kaggle's set."""
    with SOURCES.open(encoding="utf-8", newline="") as stream:
        return {row["image"]: row["field"] for row in csv.DictReader(stream)}


def _note_repeated_names(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return a note on the images that `one_per_name` leaves out."""
    count = len(entries) - len({(e.label, e.image.rsplit("/", 1)[-1]) for e in entries})
    text = "images have the file name of another image of their class"
    return (f"{count} {text}: all splits but the official one leave them out",) if count else ()


def _note_other_images(entries: Sequence[Entry], fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note on the images that Kaggle's set does not have."""
    others = [entry.image for entry in entries if entry.image not in fields]
    if not others:
        return ()
    return (
        f"{len(others)} of {len(entries)} images are not in Kaggle's set, such as "
        f"{others[0]!r}: they form one group per class and part",
    )


def _name_unassigned_group(entry: Entry) -> str:
    """Name the group of a part and class's images whose photograph is uncertain."""
    return f"unassigned-{entry.part}-{entry.label}"


BLOOD = DataSet(find_images, report_sizes={"pooled": (8007, 2000, 2500)}, image_count=12_515)
