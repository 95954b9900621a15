"""The swept fields of a grid as the text of a tag."""

import pytest

from study.config.sweep import format_value
from study.config.sweep import Sweep


def test_sweep_from_its_json_is_the_same() -> None:
    fields = {"lr": (1e-05, 5e-05), "head": ("flatten", "gap"), "batch_size": (16, 32)}
    sweep = Sweep(fields, {"lr": 5e-05, "head": "gap", "batch_size": 32})
    again = Sweep.from_json(sweep.to_json())
    assert again == sweep
    assert list(again.fields) == list(fields)
    assert type(again.fields["batch_size"][0]) is int


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"fields": {}}', '{"fields": [], "baseline": 1}']
)
def test_sweep_from_any_other_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Sweep.from_json(text)


def test_extended_sweep_has_the_values_of_both_and_the_first_baseline() -> None:
    first = Sweep({"lr": (1e-3, 5e-3)}, {"lr": 5e-3})
    later = Sweep({"lr": (1e-4, 1e-3)}, {"lr": 1e-4})
    assert first.extend(later) == Sweep({"lr": (1e-3, 5e-3, 1e-4)}, {"lr": 5e-3})


def test_extended_sweep_has_the_later_baseline_if_the_user_chose_it() -> None:
    first = Sweep({"lr": (1e-3,), "head": ("gap",)}, {"lr": 1e-3, "head": "gap"})
    chosen = {"lr": 1e-4}
    later = Sweep({"lr": (1e-4,), "head": ("flatten",)}, {"lr": 1e-4, "head": "flatten"}, chosen)
    extended = first.extend(later)
    assert extended.baseline == {"lr": 1e-4, "head": "gap"}
    assert Sweep.from_json(extended.to_json()) == extended


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (0.001, "1e-3"), (0.0015, "1.5e-3"), (0.25, "0.25"), (0.0, "0.0"), (8, "8")],
)
def test_small_number_is_written_with_a_power_of_ten(value: float, text: str) -> None:
    assert format_value(value) == text
