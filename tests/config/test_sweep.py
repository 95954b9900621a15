"""The swept fields of a grid as the text of a tag."""

import pytest

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
