"""Find a Kaggle data set on this machine, or download it.

The sets are public, so no account is needed.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from study.common.errors import DataError
from study.common.settings import read_folder
from study.data.class_folders import ClassFolder
from study.data.class_folders import list_images
from study.data.class_folders import ListedImages
from study.data.class_folders import note_stray_images
from study.data.directory import list_folders
from study.data.listing import Entry


@dataclass(frozen=True)
class KaggleSet:
    """A data set on Kaggle and the layout of its download."""

    name: str
    handle: str  # owner/slug
    roots: tuple[str, ...]  # where the image root may lie under a download, best first
    parts: tuple[str, ...]  # the official parts as folders; the first two are required
    labels: tuple[str, ...]  # class folders

    @property
    def url(self) -> str:
        """Return the address of the data set's page."""
        return f"https://www.kaggle.com/datasets/{self.handle}"

    @property
    def landmark(self) -> str:
        """Return a relative folder by which a user can recognize the right place."""
        return "/".join(n for n in (self.roots[0], self.parts[0], self.labels[0]) if n)


def find_image_root(kaggle: KaggleSet) -> Path:
    """Return the folder that holds the parts.

    It is looked for in DATA_DIR, then in kagglehub's cache, and downloaded otherwise.

    Raises:
        DataError: it is in none of these places; the message says what was tried and what to do.
    """
    attempts = []
    data_dir = read_folder("DATA_DIR")
    if data_dir is not None:
        root = _find_root(kaggle, data_dir)
        if root:
            return root
        attempts.append(f"DATA_DIR={data_dir} (no {kaggle.landmark}/ there)")
    else:
        attempts.append("DATA_DIR (not set)")
    root = _find_cached_root(kaggle)
    if root:
        return root
    attempts.append(f"kagglehub's cache {_locate_kagglehub_cache()} (not there)")
    try:
        return _download_images(kaggle)
    except Exception as error:  # whatever went wrong, the user has the same choices
        attempts.append(f"download ({_summarize_error(error)})")
    raise DataError(
        f"cannot find the images of {kaggle.name!r}. Tried: {'; '.join(attempts)}.\n"
        f"Next: set DATA_DIR to a folder that has them; or download {kaggle.url} by hand, unpack "
        "it, and set DATA_DIR to that folder; or use `--dataset demo`, which needs no download."
    )


def list_all_parts(kaggle: KaggleSet, root: Path) -> ListedImages:
    """List the images of all parts, sorted by image.

    A second copy of the set that is nested in the download is left out.
    """
    folders = [
        ClassFolder(label, part.lower(), part)
        for part in kaggle.parts
        for label in kaggle.labels
        if (root / part / label).is_dir()
    ]
    entries, notes = list_images(root, folders)
    parts = sorted({folder.part_folder for folder in folders})
    unknown = {f"{p}/{n}" for p in parts for n in list_folders(root / p) if n not in kaggle.labels}
    if unknown:
        names = ", ".join(map(repr, sorted(unknown)))
        notes += (f"left out: {names}, which are no classes of {kaggle.name}",)
    return ListedImages(entries, notes + note_stray_images(root, parts))


def has_repeated_names(entries: Iterable[Entry]) -> bool:
    """Return whether two images of a class share a file name, in different parts."""
    names = [(entry.label, entry.image.rsplit("/", 1)[-1]) for entry in entries]
    return len(set(names)) < len(names)


def _find_root(kaggle: KaggleSet, base: Path) -> Path | None:
    """Return the folder of the parts in or below `base`, or None if it is not there."""
    slug = kaggle.handle.split("/")[1]
    for prefix in ("", slug):
        for folder in ("", *kaggle.roots):
            root = base / prefix / folder
            if _is_root(kaggle, root):
                return root
    return None


def _is_root(kaggle: KaggleSet, root: Path) -> bool:
    required = kaggle.parts[:2]
    try:
        return all((root / part / label).is_dir() for part in required for label in kaggle.labels)
    except OSError:  # no permission
        return False


def _locate_kagglehub_cache() -> Path:
    return read_folder("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub"


def _find_cached_root(kaggle: KaggleSet) -> Path | None:
    # kagglehub is not asked: it would look up the newest version online before it looks here
    for version in _list_cached_versions(_locate_kagglehub_cache() / "datasets" / kaggle.handle):
        root = _find_root(kaggle, version)
        if root:
            return root
    return None


def _list_cached_versions(folder: Path) -> Iterator[Path]:
    """Yield the folders of completely downloaded versions, newest first."""
    complete = [path.stem for path in folder.glob("*.complete") if path.stem.isdigit()]
    for version in sorted(complete, key=int, reverse=True):
        yield folder / "versions" / version


def _download_images(kaggle: KaggleSet) -> Path:
    import kagglehub  # here, because it takes a second

    cache = _locate_kagglehub_cache()
    cache.mkdir(parents=True, exist_ok=True)
    # kagglehub is not safe against two downloads of one data set at the same time
    with FileLock(cache / f"{kaggle.handle.replace('/', '-')}.lock"):
        root = _find_cached_root(kaggle)
        if not root:
            base = Path(kagglehub.dataset_download(kaggle.handle))
            root = _find_root(kaggle, base)
        if not root:
            raise DataError(f"{base} has no {kaggle.landmark}/")
    return root


def _summarize_error(error: Exception) -> str:
    """Return one short line on why a download failed."""
    import requests

    if isinstance(error, requests.exceptions.Timeout):
        return "Kaggle did not answer in time"
    if isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return f"no connection to Kaggle: {type(error).__name__}"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection to Kaggle"
    name = type(error).__name__
    lines = str(error).strip().splitlines()
    return f"{name}: {lines[0][:200].rstrip('.')}" if lines else name
