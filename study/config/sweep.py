"""The swept fields of a grid with their values, and the baseline among them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from decimal import Decimal

Value = str | int | float

SMALL = 0.01  # up to it, a number is written with a power of ten
SWEEP_TAG = "sweep"  # of the parent run of a sweep; that of the seven variants has none


@dataclass(frozen=True)
class Sweep:
    """The fields that the configs of a grid differ in, besides seed and fold.

    The values are typed as in `TrialConfig`. The baseline names each field, with one of its values.
    `chosen` is the part of the baseline that the user has named.
    """

    fields: Mapping[str, tuple[Value, ...]]
    baseline: Mapping[str, Value]
    chosen: Mapping[str, Value] = field(default_factory=dict)

    def extend(self, later: "Sweep") -> "Sweep":
        """Return this sweep with the values that a later one of the same fields adds.

        The baseline stays, where the user does not name another.
        """
        fields = {
            name: tuple(dict.fromkeys([*values, *later.fields.get(name, ())]))
            for name, values in self.fields.items()
        }
        baseline = {**self.baseline, **later.chosen}
        return Sweep(fields, baseline, {**self.chosen, **later.chosen})

    def to_json(self) -> str:
        """Return the sweep as the text of the tag `SWEEP_TAG`."""
        content = {"fields": self.fields, "baseline": self.baseline}
        return json.dumps(content | ({"chosen": self.chosen} if self.chosen else {}))

    @classmethod
    def from_json(cls, text: str) -> "Sweep":
        """Return the sweep that `to_json` wrote.

        Raises:
            ValueError: the text is not of that form.
        """
        try:
            content = json.loads(text)
            fields = {name: tuple(values) for name, values in content["fields"].items()}
            return cls(fields, dict(content["baseline"]), dict(content.get("chosen", {})))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{text!r} is not a sweep") from error


def format_value(value: Value) -> str:
    """Return a value as a user writes it, such as `5e-3` for a small number."""
    if isinstance(value, float) and 0 < abs(value) <= SMALL:
        return f"{Decimal(str(value)):e}"
    return str(value)
