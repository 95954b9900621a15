"""Photographs of stained white blood cells in 4 classes (BCCD, MIT licence).

The set holds 12,515 images, which are augmented copies of 348 photographs.
"""

import csv
from pathlib import Path

from study.data.kaggle import find_image_root
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
# written by study.data.blood_sources
SOURCES = Path(__file__).with_name("blood_sources.csv")


def find_images() -> Listing:
    """Return all images of TRAIN, TEST and TEST_SIMPLE, grouped by field.

    A field is the part of the smear that a photograph shows. The number in a file name does not
    identify the original photograph, so grouping by it would leak.

    Raises:
        DataError: the data set cannot be found.
    """
    root = find_image_root(KAGGLE)
    entries = list_entries(KAGGLE, root)
    with SOURCES.open(encoding="utf-8", newline="") as stream:
        fields = {row["image"]: row["field"] for row in csv.DictReader(stream)}
    # other images in the same layout: nothing is known of their groups
    if not any(entry.image in fields for entry in entries):
        return Listing(KAGGLE.url, root, entries)
    groups = {
        entry.image: fields.get(entry.image) or _name_unassigned_group(entry) for entry in entries
    }
    return Listing(KAGGLE.url, root, entries, groups, groups_from=GROUPS)


def _name_unassigned_group(entry: Entry) -> str:
    """Name the group of a part and class's images whose photograph is uncertain."""
    return f"unassigned-{entry.part}-{entry.label}"


BLOOD = DataSet(find_images, one_per_name=True, report_sizes={"pooled": (8007, 2000, 2500)})
