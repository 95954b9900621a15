"""Finds a Kaggle data set on this machine, or downloads it: public sets, no account needed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from study.common.errors import DataError
from study.data.listing import checked
from study.data.listing import entries_of
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
        """The data set's page."""
        return f"https://www.kaggle.com/datasets/{self.handle}"

    @property
    def landmark(self) -> str:
        """A folder by which a user can tell the right place."""
        return "/".join(n for n in (self.roots[0], self.parts[0], self.labels[0]) if n)


def image_root(kaggle: KaggleSet) -> Path:
    """The folder of the parts: from DATA_DIR, else kagglehub's cache, else a fresh download.

    Raises:
        DataError: it is in none of these places; says what was tried and the ways on.
    """
    tried = []
    data_dir = os.environ.get("DATA_DIR", "").strip()
    if data_dir:
        found = _root_in(kaggle, Path(data_dir).expanduser())
        if found:
            return found
        tried.append(f"DATA_DIR={data_dir} (no {kaggle.landmark}/ there)")
    else:
        tried.append("DATA_DIR (not set)")
    found = _in_kagglehub_cache(kaggle)
    if found:
        return found
    tried.append(f"kagglehub's cache {_kagglehub_cache()} (not there)")
    try:
        return _download(kaggle)
    except Exception as error:  # whatever goes wrong in there, the ways on are the same
        tried.append(f"download ({_short(error)})")
    raise DataError(
        f"cannot find the images of {kaggle.name!r}. Tried: {'; '.join(tried)}.\n"
        f"Next: set DATA_DIR to a folder that has it; or download {kaggle.url} by hand, unpack "
        "it, and set DATA_DIR to that folder; or use `--dataset demo`, which needs no download."
    )


def list_entries(kaggle: KaggleSet, root: Path) -> tuple[Entry, ...]:
    """All images of all parts, sorted by image, a nested second copy of the set left out."""
    entries: list[Entry] = []
    for part in kaggle.parts:
        for label in kaggle.labels:
            if (root / part / label).is_dir():
                entries += entries_of(root, label, part.lower(), part)
    return checked(root, entries, kaggle.labels)


def _root_in(kaggle: KaggleSet, base: Path) -> Path | None:
    slug = kaggle.handle.split("/")[1]
    for prefix in ("", slug):
        for root in ("", *kaggle.roots):
            if _is_root(kaggle, base / prefix / root):
                return base / prefix / root
    return None


def _is_root(kaggle: KaggleSet, root: Path) -> bool:
    required = kaggle.parts[:2]
    try:
        return all((root / part / label).is_dir() for part in required for label in kaggle.labels)
    except OSError:  # no permission
        return False


def _kagglehub_cache() -> Path:
    default = Path.home() / ".cache" / "kagglehub"
    return Path(os.environ.get("KAGGLEHUB_CACHE") or default)


def _in_kagglehub_cache(kaggle: KaggleSet) -> Path | None:
    # kagglehub itself asks the network for the newest version before it looks at its cache
    for version in _cached_versions(_kagglehub_cache() / "datasets" / kaggle.handle):
        found = _root_in(kaggle, version)
        if found:
            return found
    return None


def _cached_versions(folder: Path) -> Iterator[Path]:
    """Folders of completely downloaded versions, newest first."""
    complete = [path.stem for path in folder.glob("*.complete") if path.stem.isdigit()]
    for version in sorted(complete, key=int, reverse=True):
        yield folder / "versions" / version


def _download(kaggle: KaggleSet) -> Path:
    import kagglehub  # takes a second

    cache = _kagglehub_cache()
    cache.mkdir(parents=True, exist_ok=True)
    # kagglehub does not expect two downloads of one data set at once
    with FileLock(cache / f"{kaggle.handle.replace('/', '-')}.lock"):
        found = _in_kagglehub_cache(kaggle)
        if not found:
            base = Path(kagglehub.dataset_download(kaggle.handle))
            found = _root_in(kaggle, base)
        if not found:
            raise DataError(f"{base} has no {kaggle.landmark}/")
    return found


def _short(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.Timeout):
        return "Kaggle did not answer in time"
    if isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return f"no connection to Kaggle: {type(error).__name__}"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection to Kaggle"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200].rstrip('.')}" if text else type(error).__name__
