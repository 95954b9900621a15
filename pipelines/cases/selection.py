"""Read a run's test images as cases, and select mistakes and hits.

A case holds an image's prediction, its probability, and how its siblings were predicted. Siblings
are images of the same group.
"""

import itertools
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Case:
    """One test image and the model's prediction for it."""

    image: str
    label: str
    predicted: str
    probability: float  # of the predicted class, 0 to 1
    group: str | None  # None if not known
    siblings: int  # other test images of its group
    wrong_siblings: int  # those of them whose prediction is wrong

    @property
    def is_hit(self) -> bool:
        """Return whether the prediction is right."""
        return self.predicted == self.label


def build_cases(predictions: pd.DataFrame, group_of: Mapping[str, str]) -> list[Case]:
    """Return the test images of a run as cases, in the order of its predictions.

    Args:
        predictions: a run's `predictions.parquet`, with the columns image, split, label,
            `p_<class>` per class, and group, which runs of earlier versions lack.
        group_of: the group of each image, used for such runs. Empty if the groups are not known.
    """
    test = predictions[predictions["split"] == "test"]
    names = [name for name in test.columns if name.startswith("p_")]
    probabilities = test[names].to_numpy()
    predicted = [names[best].removeprefix("p_") for best in probabilities.argmax(axis=1)]
    groups = _read_groups(test, group_of)
    is_wrong = [name != label for name, label in zip(predicted, test["label"], strict=True)]
    images_by_group = Counter(groups)
    mistakes_by_group = Counter(itertools.compress(groups, is_wrong))
    rows = zip(
        *(test["image"], test["label"], predicted, probabilities.max(axis=1), groups, is_wrong),
        strict=True,
    )
    return [
        Case(
            image,
            label,
            name,
            float(probability),
            group,
            siblings=images_by_group[group] - 1 if group is not None else 0,
            wrong_siblings=mistakes_by_group[group] - wrong if group is not None else 0,
        )
        for image, label, name, probability, group, wrong in rows
    ]


def select_mistakes(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with a wrong prediction, the most confident first."""
    wrong = [case for case in cases if not case.is_hit]
    return sorted(wrong, key=lambda case: (-case.probability, case.image))


def select_hits(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with a right prediction, the least confident first."""
    right = [case for case in cases if case.is_hit]
    return sorted(right, key=lambda case: (case.probability, case.image))


def describe_siblings(case: Case) -> str:
    """Describe siblings: `3 of its 5 siblings in the test set are also wrong`."""
    count = case.siblings
    wrong = case.wrong_siblings
    also = "" if case.is_hit else "also "
    if not count:
        return "no sibling in the test set"
    if count == 1:
        verdict = f"{also}wrong" if wrong else "right"
        return f"its one sibling in the test set is {verdict}"
    if not wrong:
        return f"none of its {count} siblings in the test set is wrong"
    verb = "is" if wrong == 1 else "are"
    share = f"all {count} of its" if wrong == count else f"{wrong} of its {count}"
    return f"{share} siblings in the test set {verb} {also}wrong"


def _read_groups(test: pd.DataFrame, group_of: Mapping[str, str]) -> list[str | None]:
    if "group" not in test:
        return [group_of.get(image) for image in test["image"]]
    return [None if pd.isna(group) else str(group) for group in test["group"]]
