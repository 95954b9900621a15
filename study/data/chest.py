"""Chest X-rays of children (Kermany et al. 2018, CC BY 4.0).

The set holds 5,856 images in 2 classes.
"""

import re

from study.data.kaggle import find_image_root
from study.data.kaggle import KaggleSet
from study.data.kaggle import list_entries
from study.data.listing import DataSet
from study.data.listing import Listing

KAGGLE = KaggleSet(
    name="chest",
    handle="paultimothymooney/chest-xray-pneumonia",
    # the download also contains a second copy of itself, one level down
    roots=("chest_xray", "chest_xray/chest_xray"),
    parts=("train", "test", "val"),
    labels=("NORMAL", "PNEUMONIA"),
)
# Patient numbers restart for each subtype of pneumonia, and IM numbers restart in the NORMAL2
# series, so the subtype or the series is part of the group's name.
_PNEUMONIA = re.compile(r"person(\d+)_(bacteria|virus)_")
_NORMAL = re.compile(r"(NORMAL2-)?IM-(\d+)-")


def parse_patient(image: str) -> str:
    """Return the patient that an image shows, read from its file name.

    A file whose name has another form is a group of its own: its name is returned.

    >>> patient("train/PNEUMONIA/person12_virus_46.jpeg")
    'virus-12'
    """
    name = image.rsplit("/", 1)[-1]
    if match := _PNEUMONIA.match(name):
        return f"{match[2]}-{int(match[1])}"
    if match := _NORMAL.match(name):
        return f"{'normal2' if match[1] else 'normal'}-{int(match[2])}"
    return name


def find_images() -> Listing:
    """Return all images of train, test and val, grouped by patient.

    Raises:
        DataError: the data set cannot be found.
    """
    root = find_image_root(KAGGLE)
    entries = list_entries(KAGGLE, root)
    groups = {entry.image: parse_patient(entry.image) for entry in entries}
    return Listing(KAGGLE.url, root, entries, groups, groups_from="patient, from the file name")


# The set's own val folder has only 16 images, too few to be of use.
CHEST = DataSet(
    find_images, one_per_name=True, has_usable_val=False, report_sizes={"pooled": (3750, 936, 1170)}
)
