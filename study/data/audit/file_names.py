r"""Read patients from file names by patterns.

A user gives the patterns, or the names suggest them. A name suggests a patient if several files
share its beginning and differ by what follows, as `person78_bacteria_380` and
`person78_bacteria_381` do, or `NORMAL2-IM-0095-0001`.
"""

import re
from collections import Counter
from collections import defaultdict
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from study.common.errors import DataError
from study.data.listing import Entry
from study.data.names import escape_name

# Share of the file names that may fit no pattern of a user. Each of these images is then a group of
# its own.
MAX_UNMATCHED = 0.02
# What names must show before they are taken for a pattern.
MIN_NUMBERS = 5  # different numbers at the place of the patient
MAX_FREQUENCY = 0.5  # share of the most frequent of them
MIN_MATCHED = 0.4  # share of all file names
MIN_SIBLINGS = 0.05  # share of all images that share their group
MAX_PATTERNS = 4  # more become one pattern for all
MIN_FORM = 0.02  # share of all names that have its form; random codes have many rare forms
_NUMBER = re.compile(r"\d+")
# Letters, and the running number of a file at its end: Smith_John_02
_LETTERS = r"^(?P<group>\D*[^\W\d_])[\W_]*\d+\.[^.]*$"

Pattern = re.Pattern[str]


def parse_pattern(text: str) -> Pattern:
    """Parse a regular expression with named groups.

    Raises:
        DataError: it is none, or has no named group.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise DataError(f"--groups-from {text!r} is not a regular expression: {error}") from None
    if not pattern.groupindex:
        raise DataError(
            f"--groups-from {text!r} does not say which part of a file name is the group: put "
            "it in (?P<group>...), as in '(?P<group>patient[0-9]+)_'"
        )
    return pattern


def match_groups(images: Iterable[str], patterns: Sequence[Pattern]) -> dict[str, str]:
    """Return the groups of the images whose file names match a pattern.

    The first pattern that matches counts. The group is its named group `group`, or all its named
    groups joined by a hyphen.
    """
    group_of = {}
    for image in images:
        name = _get_name(image)
        for pattern in patterns:
            if group := _extract_group(pattern.search(name)):
                group_of[image] = group
                break
    return group_of


def check_groups(entries: Sequence[Entry], patterns: Sequence[Pattern]) -> tuple[str, ...]:
    """Check that the patterns of a user give useful groups, before any image is read.

    Returns:
        Notes on what a user should know of the groups, one sentence each.

    Raises:
        DataError: a pattern matches no name, more than a few names match none, or all images are in
            one group.
    """
    images = [entry.image for entry in entries]
    for pattern in patterns:
        if not match_groups(images, [pattern]):
            raise DataError(
                f"--groups-from {pattern.pattern!r} gives no group for any file name, such as "
                f"{_show_name(images[0])}"
            )
    group_of = match_groups(images, patterns)
    count = len(set(group_of.values()))
    notes = _check_unmatched(images, group_of)
    if count == 1:
        group = next(iter(group_of.values()))
        raise DataError(
            f"--groups-from puts all {len(group_of):,} images into one group, {group!r}: match "
            "what differs between patients"
        )
    if count == len(group_of):
        example = next(iter(group_of.values()))
        notes.append(f"--groups-from gives every image a group of its own, such as {example!r}")
    return tuple(notes)


def suggest_patterns(entries: Sequence[Entry]) -> list[Pattern]:
    """Return the patterns by which file names seem to identify patients.

    The list is empty if no pattern shows.
    """
    images = [entry.image for entry in entries]
    names = [_get_name(image) for image in images]
    class_count = len({entry.label for entry in entries})
    usual_names = _drop_rare_forms(names)
    patterns = _shorten(_find_numbered(usual_names, ""))
    are_codes = len(usual_names) < MIN_MATCHED * len(names)
    for candidates in ([] if are_codes else patterns, [_LETTERS]):
        compiled = [re.compile(text) for text in candidates]
        groups = match_groups(images, compiled).values()
        if _is_plausible(Counter(groups), len(images), class_count):
            return compiled
    return []


def _check_unmatched(images: Sequence[str], group_of: Mapping[str, str]) -> list[str]:
    unmatched = [image for image in images if image not in group_of]
    if not unmatched:
        return []
    text = (
        f"{len(unmatched):,} of {len(images):,} file names match no --groups-from, such as "
        f"{_show_name(unmatched[0])}"
    )
    if len(unmatched) > MAX_UNMATCHED * len(images):
        raise DataError(
            f"{text}: add a --groups-from for them, or '(?P<group>.+)' as the last one if each of "
            "these images is the only one of its patient"
        )
    return [f"{text}: each of these images is a group of its own"]


def _drop_rare_forms(names: Sequence[str]) -> list[str]:
    """Return the names that many others equal but for their numbers."""
    form_of = {name: _NUMBER.sub("0", _get_stem(name).lower()) for name in names}
    counts = Counter(form_of[name] for name in names)
    least = max(MIN_NUMBERS, MIN_FORM * len(names))
    return [name for name in names if counts[form_of[name]] >= least]


def _find_numbered(names: Iterable[str], lead: str) -> list[tuple[str, int]]:
    """Find where in names the patient's number stands.

    Args:
        names: of files that all begin with `lead`.
        lead: numbers and text before the number that is looked at.

    Returns:
        The text before the number, and how many names it is in.
    """
    families: dict[str, list[re.Match[str]]] = defaultdict(list)
    for name in names:
        if match := _NUMBER.search(name, len(lead)):
            families[name[: match.start()]].append(match)
    found = []
    for text, matches in families.items():
        if _names_patients(matches):
            found.append((text, len(matches)))
        elif len(matches) > 1:
            # a number that is the same in most names, as that of NORMAL2, belongs to the text
            for number in sorted({match[0] for match in matches}):
                same = [match.string for match in matches if match[0] == number]
                found += _find_numbered(same, text + number)
    return found


def _names_patients(matches: Sequence[re.Match[str]]) -> bool:
    """Return whether numbers at one place of some names may be those of patients."""
    counts = Counter(match[0] for match in matches)
    has_more = [bool(re.search(r"[^\W_]", _get_stem(m.string)[m.end() :])) for m in matches]
    return (
        len(counts) >= MIN_NUMBERS
        and max(counts.values()) <= MAX_FREQUENCY * len(matches)
        # a number at the end is that of the file
        and sum(has_more) >= len(matches) / 2
    )


def _shorten(found: Collection[tuple[str, int]]) -> list[str]:
    """Return patterns of the texts before a patient's number, most frequent first."""
    if len(found) > MAX_PATTERNS:
        numbered = [item for item in found if re.search(r"\d", item[0])]
        if len(numbered) <= MAX_PATTERNS:
            return [*_shorten(numbered), r"^(?P<group>\D*\d+)"]
    texts = [text for text, _ in sorted(found, key=lambda item: (-item[1], item[0]))]
    return [rf"^(?P<group>{_escape(text)}\d+)" for text in texts]


def _is_plausible(sizes: Mapping[str, int], total: int, class_count: int) -> bool:
    """Return whether groups of these sizes may be patients.

    Otherwise, they are more likely classes or single images.
    """
    siblings = sum(size for size in sizes.values() if size > 1)
    return (
        sum(sizes.values()) >= MIN_MATCHED * total
        and siblings >= MIN_SIBLINGS * total
        and len(sizes) >= max(MIN_NUMBERS, 2 * class_count)
        and max(sizes.values()) <= MAX_FREQUENCY * total
    )


def _extract_group(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    named = match.groupdict()
    texts = [named["group"]] if "group" in named else named.values()
    return escape_name("-".join(text for text in texts if text).strip())


def _escape(text: str) -> str:
    """Escape text for a regular expression.

    Unlike `re.escape`, this escapes only what needs it.
    """
    return re.sub(r"([.^$*+?{}\[\]()|\\])", r"\\\1", text)


def _show_name(image: str) -> str:
    return repr(escape_name(_get_name(image)))


def _get_name(image: str) -> str:
    return image.rsplit("/", 1)[-1]


def _get_stem(name: str) -> str:
    return name.rsplit(".", 1)[0]
