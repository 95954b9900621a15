"""Repeating an action, with pauses that grow."""

import itertools

import pytest

from study.common import backoff
from study.common.backoff import growing_pauses
from study.common.backoff import retry_with_backoff


def test_growing_pauses_double_up_to_the_longest() -> None:
    assert list(itertools.islice(growing_pauses(0.5, 3), 5)) == [0.5, 1, 2, 3, 3]
    assert next(itertools.islice(growing_pauses(0.5, 3), 5000, None)) == 3


def test_retry_of_an_error_that_does_not_pass_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(backoff.stopping, "wait", pauses.append)
    errors = [ConnectionError("away"), ConnectionError("away"), ValueError("wrong")]

    def fail() -> None:
        raise errors.pop(0)

    with pytest.raises(ValueError, match="wrong"):
        retry_with_backoff(
            fail,
            lambda error: isinstance(error, ConnectionError),
            seconds=60,
            first_pause=1,
            longest_pause=4,
        )
    assert pauses == [1, 2]
