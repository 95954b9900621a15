"""The swept fields of a grid with their values, and the baseline among them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | float

SWEEP_TAG = "sweep"  # of the parent run of a sweep; that of the seven variants has none


@dataclass(frozen=True)
class Sweep:
    """The fields that the configs of a grid differ in, besides seed and fold.

    The values are typed as in `TrialConfig`. The baseline names each field, with one of its values.
    """

    fields: Mapping[str, tuple[Value, ...]]
    baseline: Mapping[str, Value]

    def to_json(self) -> str:
        """Return the sweep as the text of the tag `SWEEP_TAG`."""
        return json.dumps({"fields": self.fields, "baseline": self.baseline})

    @classmethod
    def from_json(cls, text: str) -> "Sweep":
        """Return the sweep that `to_json` wrote.

        Raises:
            ValueError: the text is not of that form.
        """
        try:
            content = json.loads(text)
            fields = {name: tuple(values) for name, values in content["fields"].items()}
            return cls(fields, dict(content["baseline"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{text!r} is not a sweep") from error
