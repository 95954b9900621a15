"""Chest X-rays of children (Kermany et al. 2018, CC BY 4.0).

The set holds 5,856 images in 2 classes.
"""

import re
from dataclasses import replace

from study.data.kaggle import find_image_root
from study.data.kaggle import has_repeated_names
from study.data.kaggle import KaggleSet
from study.data.kaggle import list_all_parts
from study.data.listing import DataSet
from study.data.listing import Entry
from study.data.listing import Listing
from study.data.names import escape_name

KAGGLE = KaggleSet(
    name="chest",
    handle="paultimothymooney/chest-xray-pneumonia",
    # the download also contains a second copy of itself, one level down
    roots=("chest_xray", "chest_xray/chest_xray"),
    parts=("train", "test", "val"),
    labels=("NORMAL", "PNEUMONIA"),
)
# The names of Kaggle's files. Patient numbers restart for each subtype of pneumonia, and IM numbers
# restart in the NORMAL2 series, so the subtype or the series is part of the group's name.
_PNEUMONIA = re.compile(r"person(\d+)_(bacteria|virus)_", re.IGNORECASE)
_NORMAL = re.compile(r"(NORMAL2-)?(?<![a-z0-9])IM-(\d+)-", re.IGNORECASE)
# The names of the original publication's files (Mendeley Data), DISEASE-PATIENT-NUMBER.
_ORIGINAL = re.compile(r"(?<![a-z0-9])(BACTERIA|VIRUS|NORMAL)-(\d+)-\d+", re.IGNORECASE)
# The names in which the first rules found a patient. They took every other name for one of its own.
_FIRST_RULES = re.compile(r"person\d+_(bacteria|virus)_|(NORMAL2-)?IM-\d+-")
# Share of the names that may identify no patient, each of which is then a group of its own.
MAX_UNKNOWN = 0.02


def parse_patient(image: str) -> str | None:
    """Return the patient that an image shows, read from its file name.

    A prefix and the case of the name do not matter. Returns None for a name of another form.

    >>> parse_patient("train/PNEUMONIA/person12_virus_46.jpeg")
    'virus-12'
    >>> parse_patient("train/PNEUMONIA/VIRUS-1008-0002.jpeg")
    'original-virus-1008'
    """
    name = image.rsplit("/", 1)[-1]
    if match := _PNEUMONIA.search(name):
        return f"{match[2].lower()}-{int(match[1])}"
    if match := _NORMAL.search(name):
        return f"{'normal2' if match[1] else 'normal'}-{int(match[2])}"
    if match := _ORIGINAL.search(name):
        return f"original-{match[1].lower()}-{int(match[2])}"
    return None


def find_images() -> Listing:
    """Return all images of train, test and val, grouped by patient.

    Raises:
        DataError: the data set cannot be found.
    """
    root = find_image_root(KAGGLE)
    entries, notes = list_all_parts(KAGGLE, root)
    names = [entry.image.rsplit("/", 1)[-1] for entry in entries]
    is_as_on_kaggle = all(map(_FIRST_RULES.match, names)) and not has_repeated_names(entries)
    listing = Listing(KAGGLE.url, root, entries, notes=notes, rules="" if is_as_on_kaggle else "2")
    return _group_by_patient(listing)


def _group_by_patient(listing: Listing) -> Listing:
    """Add the groups to a listing, or the reason why they are not known."""
    patients = {entry.image: parse_patient(entry.image) for entry in listing.entries}
    unknown = [entry for entry in listing.entries if patients[entry.image] is None]
    notes = listing.notes
    if unknown:
        text = f"{len(unknown)} of {len(patients)} file names identify no patient, such as "
        text += repr(unknown[0].image)
        if len(unknown) > MAX_UNKNOWN * len(patients):
            return replace(listing, why_no_groups=text)
        notes += (f"{text}: each of these images is a group of its own",)
    groups = {
        entry.image: patients[entry.image] or _name_single(entry) for entry in listing.entries
    }
    return replace(listing, groups=groups, groups_from="patient, from the file name", notes=notes)


def _name_single(entry: Entry) -> str:
    """Name the group of an image whose patient is not known."""
    return escape_name(f"{entry.label}/{entry.image.rsplit('/', 1)[-1]}")


# The set's own val folder has only 16 images, too few to be of use.
CHEST = DataSet(
    find_images,
    has_usable_val=False,
    report_sizes={"pooled": (3750, 936, 1170)},
    image_count=5856,
)
