"""The test images of a run as cases: what was said of each, how surely, and of its siblings."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Case:
    """One test image and what the model said of it."""

    image: str
    label: str
    predicted: str
    probability: float  # of the predicted class, 0 to 1
    group: str | None  # None if not known
    siblings: int  # other test images of its group
    wrong_siblings: int  # of these

    @property
    def hit(self) -> bool:
        """Whether the prediction is right."""
        return self.predicted == self.label


def cases_of(predictions: pd.DataFrame, group_of: Mapping[str, str]) -> list[Case]:
    """The test images of a run, in the order of its predictions.

    Args:
        predictions: a run's `predictions.parquet`: image, split, label, `p_<class>` per class, and
            group, which runs of earlier versions lack.
        group_of: groups by image, for such runs; empty if not known.
    """
    test = predictions[predictions["split"] == "test"]
    names = [name for name in test.columns if name.startswith("p_")]
    probabilities = test[names].to_numpy()
    predicted = [names[best].removeprefix("p_") for best in probabilities.argmax(axis=1)]
    groups = _groups(test, group_of)
    wrong = [said != label for said, label in zip(predicted, test["label"], strict=True)]
    images_in = Counter(groups)
    wrong_in = Counter(group for group, missed in zip(groups, wrong, strict=True) if missed)
    rows = zip(
        *(test["image"], test["label"], predicted, probabilities.max(axis=1), groups, wrong),
        strict=True,
    )
    return [
        Case(
            image, label, said, float(probability), group,
            siblings=images_in[group] - 1 if group is not None else 0,
            wrong_siblings=wrong_in[group] - missed if group is not None else 0,
        )
        for image, label, said, probability, group, missed in rows
    ]  # fmt: skip


def mistakes(cases: Sequence[Case]) -> list[Case]:
    """The wrong ones, the most confident first."""
    wrong = [case for case in cases if not case.hit]
    return sorted(wrong, key=lambda case: (-case.probability, case.image))


def hits(cases: Sequence[Case]) -> list[Case]:
    """The right ones, the least confident first."""
    right = [case for case in cases if case.hit]
    return sorted(right, key=lambda case: (case.probability, case.image))


def siblings_text(case: Case) -> str:
    """As `3 of its 5 siblings in the test set are also wrong`."""
    count, wrong = case.siblings, case.wrong_siblings
    also = "" if case.hit else "also "
    if not count:
        return "no sibling in the test set"
    if count == 1:
        return f"its one sibling in the test set is {f'{also}wrong' if wrong else 'right'}"
    if not wrong:
        return f"none of its {count} siblings in the test set is wrong"
    some = f"all {count}" if wrong == count else f"{wrong}"
    of = "of its siblings" if wrong == count else f"of its {count} siblings"
    return f"{some} {of} in the test set {'is' if wrong == 1 else 'are'} {also}wrong"


def _groups(test: pd.DataFrame, group_of: Mapping[str, str]) -> list[str | None]:
    if "group" not in test:
        return [group_of.get(image) for image in test["image"]]
    return [None if pd.isna(group) else str(group) for group in test["group"]]
