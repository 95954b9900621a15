"""Chest X-rays of children, 2 classes, 5,856 images (Kermany et al. 2018, CC BY 4.0)."""

import re

from study.data.kaggle import image_root
from study.data.kaggle import KaggleSet
from study.data.kaggle import list_entries
from study.data.listing import DataSet
from study.data.listing import Listing

KAGGLE = KaggleSet(
    name="chest",
    handle="paultimothymooney/chest-xray-pneumonia",
    # the download also holds a second copy of itself, one level down
    roots=("chest_xray", "chest_xray/chest_xray"),
    parts=("train", "test", "val"),
    labels=("NORMAL", "PNEUMONIA"),
)
# N restarts for each subtype, and IM numbers restart in the NORMAL2 series
_PNEUMONIA = re.compile(r"person(\d+)_(bacteria|virus)_")
_NORMAL = re.compile(r"(NORMAL2-)?IM-(\d+)-")


def patient(image: str) -> str:
    """The patient behind an image, from its file name; a name of another form is its own group.

    >>> patient("train/PNEUMONIA/person12_virus_46.jpeg")
    'virus-12'
    """
    name = image.rsplit("/", 1)[-1]
    if match := _PNEUMONIA.match(name):
        return f"{match[2]}-{int(match[1])}"
    if match := _NORMAL.match(name):
        return f"{'normal2' if match[1] else 'normal'}-{int(match[2])}"
    return name


def find() -> Listing:
    """All images of train, test and val, grouped by patient.

    Raises:
        DataError: the data set cannot be found.
    """
    root = image_root(KAGGLE)
    entries = list_entries(KAGGLE, root)
    groups = {entry.image: patient(entry.image) for entry in entries}
    return Listing(KAGGLE.url, root, entries, groups, groups_from="patient, from the file name")


# Its val folder has 16 images and is useless.
CHEST = DataSet(find, one_per_name=True, own_val=False, report_sizes={"pooled": (3750, 936, 1170)})
