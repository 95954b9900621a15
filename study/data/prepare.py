"""Find, hash and decode a data set."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from dataclasses import field

import numpy as np
import numpy.typing as npt

from study.common.errors import DataError
from study.common.folder_names import is_folder_name
from study.data.digest import compute_digest
from study.data.digest import hash_files
from study.data.listing import FoundBy
from study.data.listing import Listing
from study.data.parallel import ProgressCallback
from study.data.pixels import decode_in_memory
from study.data.pixels import DecodedImages
from study.data.pixels import load_cached_pixels
from study.data.pixels import Notes
from study.data.pixels import Pixels
from study.data.registry import get_dataset


@dataclass(frozen=True)
class Samples:
    """The N usable images of a data set, sorted by id, without pixels. Immutable."""

    dataset: str  # the name that was asked for: "chest", "blood", "demo", "folder:PATH"
    classes: tuple[str, ...]  # sorted
    images: tuple[str, ...]  # N ids: path relative to the image root, with forward slashes
    y: npt.NDArray[np.int64]  # (N,) index into classes
    folders: tuple[str, ...]  # N official parts in lower case, "" if the set has none
    groups: tuple[str, ...] | None  # N patients or originals; None if not known for this set
    groups_found_by: FoundBy = field(default="", kw_only=True)  # as in `Listing`
    why_no_groups: str = field(default="", kw_only=True)  # as in `Listing`
    one_per_name: bool = field(default=False, kw_only=True)  # as in `Listing`
    notes: tuple[str, ...] = field(default=(), kw_only=True)  # as in `Listing`

    @property
    def has_only_near_duplicates(self) -> bool:
        """Return whether the groups may miss siblings, as those of near-duplicates do.

        What leaks by these groups is the least that leaks.
        """
        return self.groups_found_by == "near-duplicates"


@dataclass(frozen=True)
class Data(Samples):
    """The usable images of a data set with their pixels, at one image size."""

    source: str  # URL of the Kaggle page, "synthetic", or the folder's path
    x: Pixels  # uint8 (N, size, size, 3) RGB, read-only
    skipped: Notes  # (image, reason) of listed files that are not usable
    digest: str  # SHA-256 as of `compute_digest`, for the split that was asked for
    images_digest: str = ""  # the same without groups
    unusual: Notes = ()  # (image, what was left out or scaled) of usable images


def prepare(
    dataset: str,
    image_size: int,
    *,
    split: str = "",
    use_cache: bool = True,
    progress: ProgressCallback | None = None,
) -> Data:
    """Find or download a data set, check it, and decode it once per machine and size.

    Args:
        dataset: "chest", "blood", "demo" or "folder:PATH".
        image_size: height and width in pixels; images are stretched to it.
        split: that the digest is for, as in `compute_digest`.
        use_cache: False keeps the pixels in this process' memory and writes nothing (except the
            demo's images, which are always drawn into the cache folder).
        progress: called now and then with ("reading" or "decoding", done, total).

    Raises:
        DataError: the data set cannot be found, read, or stored; the message says what to do next.
    """
    listing = get_dataset(dataset).find()
    hashes = hash_files(listing, progress, remember=use_cache)
    images_digest = compute_digest(listing, hashes, "pooled")
    if use_cache:
        decoded = load_cached_pixels(listing, hashes, images_digest, image_size, progress)
    else:
        decoded = decode_in_memory(listing, hashes, image_size, progress)
    data = _assemble_data(dataset, listing, decoded, compute_digest(listing, hashes, split))
    return dataclasses.replace(data, images_digest=images_digest)


def compute_data_digest(dataset: str, split: str = "") -> str:
    """Compute the digest of a data set and split without decoding any image.

    It is the digest that `prepare` returns. This takes next to no time if no file has changed
    since the last call.

    Raises:
        DataError: the data set cannot be found.
    """
    listing = get_dataset(dataset).find()
    return compute_digest(listing, hash_files(listing, None, remember=True), split)


def compute_name_digest(dataset: str) -> str:
    """Compute the digest whose first digits end a folder's name, as in `cells-3f2a9c`.

    It is that of the images, without groups. It is empty for data sets with a name of their own,
    whose files are not looked at.

    Raises:
        DataError: the folder cannot be found.
    """
    return compute_data_digest(dataset, "pooled") if is_folder_name(dataset) else ""


def list_recorded_digests(dataset: str) -> set[str]:
    """Return the digests that runs on the images of a data set may have recorded.

    There are two if the data set has a `groups.csv`: with that file and without it.

    Raises:
        DataError: the data set cannot be found.
    """
    listing = get_dataset(dataset).find()
    hashes = hash_files(listing, None, remember=True)
    return {compute_digest(listing, hashes, split) for split in ("", "pooled")}


def has_groups(dataset: str) -> bool:
    """Return whether a data set's groups are known, as the grouped split needs.

    Raises:
        DataError: the data set cannot be found.
    """
    return get_dataset(dataset).find().groups is not None


def has_verified_groups(dataset: str) -> bool:
    """Return whether a data set's groups are known, and not by near-duplicates alone.

    Raises:
        DataError: the data set cannot be found.
    """
    listing = get_dataset(dataset).find()
    return listing.groups is not None and listing.groups_found_by != "near-duplicates"


def build_samples(dataset: str, listing: Listing, unusable: Collection[str]) -> Samples:
    """Return the listed images without the `unusable` ones.

    A class may be left without any image.
    """
    classes = tuple(sorted({entry.label for entry in listing.entries}))
    class_index = {label: index for index, label in enumerate(classes)}
    entries = [entry for entry in listing.entries if entry.image not in unusable]
    groups = listing.groups
    return Samples(
        dataset=dataset,
        classes=classes,
        images=tuple(entry.image for entry in entries),
        y=np.array([class_index[entry.label] for entry in entries], np.int64),
        folders=tuple(entry.part for entry in entries),
        groups=None if groups is None else tuple(groups[entry.image] for entry in entries),
        groups_found_by=listing.groups_found_by,
        why_no_groups=listing.why_no_groups,
        one_per_name=listing.one_per_name,
        notes=listing.notes,
    )


def _assemble_data(dataset: str, listing: Listing, decoded: DecodedImages, digest: str) -> Data:
    samples = build_samples(dataset, listing, {image for image, _ in decoded.skipped})
    for label in sorted(set(range(len(samples.classes))) - set(samples.y.tolist())):
        name = samples.classes[label]
        members = {entry.image for entry in listing.entries if entry.label == name}
        image, reason = next(note for note in decoded.skipped if note[0] in members)
        raise DataError(
            f"class {name!r} of {listing.root} has no usable image, first {image!r}: {reason}; "
            "replace its files, or remove its folder"
        )
    return Data(
        **vars(samples),
        source=listing.source,
        x=decoded.x,
        skipped=decoded.skipped,
        digest=digest,
        unusual=decoded.unusual,
    )
