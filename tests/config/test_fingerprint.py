"""The fingerprint: what changes it, and what does not."""

from typing import Any

import pytest
from hypothesis import assume
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from study.common.errors import ConfigError
from study.config.fingerprint import fingerprint
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from tests.config.test_trial_config import configs
from tests.config.test_trial_config import SPECS
from tests.config.test_trial_config import values_of


def test_fingerprint_without_folds_is_that_of_no_fold() -> None:
    plain = TrialConfig(split="grouped")
    others = {fingerprint(plain.replace(fold=k, folds=n), "d") for k, n in ((1, 5), (2, 5), (1, 4))}
    assert len(others | {fingerprint(plain, "d")}) == 4
    assert fingerprint(plain.replace(fold=0, folds=0), "d") == fingerprint(plain, "d")


@pytest.mark.parametrize(
    ("dataset", "start"), [("chest", "59f68ac0698b4967"), ("demo", "b2efbc5b965f3e1d")]
)
def test_fingerprint_of_a_recipe_is_that_of_protocol_version_2(dataset: str, start: str) -> None:
    assert fingerprint(recipe(dataset), "d").startswith(start)  # as of protocol version 2


@given(configs(), st.data())
def test_fingerprint_changes_with_any_field(config: TrialConfig, data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(SPECS)))
    value = data.draw(values_of(name))
    assume(value != getattr(config, name))
    try:
        other = config.replace(**{name: value})
    except ConfigError:
        assume(False)
    assert fingerprint(config, "d") != fingerprint(other, "d")


@given(configs())
@settings(max_examples=20)
def test_fingerprint_is_64_hex_digits_and_depends_on_the_data(config: TrialConfig) -> None:
    key = fingerprint(config, "one")
    assert len(bytes.fromhex(key)) == 32
    assert key == fingerprint(TrialConfig(**config.as_dict()), "one")
    assert key != fingerprint(config, "other")


def test_fingerprint_does_not_depend_on_a_folders_path() -> None:
    keys = {fingerprint(recipe(f"folder:{path}"), "d") for path in ("a", "/b/c", "d:e")}
    assert len(keys) == 1
    assert fingerprint(recipe("chest"), "d") not in keys


@given(first=st.binary(max_size=30), second=st.binary(max_size=30))
@settings(max_examples=20)
def test_fingerprint_depends_on_the_bytes_of_a_weights_file(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    keys = []
    for name, content in (("a.h5", first), ("b.h5", first), ("c.h5", second)):
        (folder / name).write_bytes(content)
        keys.append(fingerprint(TrialConfig(weights=str(folder / name)), "d"))
    assert keys[0] == keys[1]
    assert (keys[0] == keys[2]) == (first == second)
    assert fingerprint(TrialConfig(), "d") not in keys
