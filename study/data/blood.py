"""Stained white blood cells, 4 classes, 12,515 augmented copies of 348 photographs (BCCD, MIT)."""

import csv
from pathlib import Path

from study.data.kaggle import image_root
from study.data.kaggle import KaggleSet
from study.data.kaggle import list_entries
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
SOURCES = Path(__file__).with_name("blood_sources.csv")  # made by study.data.blood_sources


def find() -> Listing:
    """All images of TRAIN, TEST and TEST_SIMPLE, grouped by the field they were photographed from.

    The number in a file name is not the original's: grouping by it would leak.

    Raises:
        DataError: the data set cannot be found.
    """
    root = image_root(KAGGLE)
    entries = list_entries(KAGGLE, root)
    with SOURCES.open(encoding="utf-8", newline="") as stream:
        fields = {row["image"]: row["field"] for row in csv.DictReader(stream)}
    if not any(entry.image in fields for entry in entries):  # other images in the same layout
        return Listing(KAGGLE.url, root, entries)
    groups = {entry.image: fields.get(entry.image) or _unassigned(entry) for entry in entries}
    return Listing(KAGGLE.url, root, entries, groups, groups_from=GROUPS)


def _unassigned(entry: Entry) -> str:
    """The group of the images of a part and class whose photograph is not certain."""
    return f"unassigned-{entry.part}-{entry.label}"


BLOOD = DataSet(find, one_per_name=True, report_sizes={"pooled": (8007, 2000, 2500)})
