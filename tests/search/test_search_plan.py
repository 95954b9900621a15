"""The plan of a search: names that its flags offer without loading Optuna."""

from study.config.trial_config import TrialConfig
from study.search.pruning import PRUNERS
from study.search.samplers import SAMPLERS
from study.search.search_plan import PRUNER_NAMES
from study.search.search_plan import SAMPLER_NAMES
from study.search.search_plan import SEARCHED_FIELDS
from study.search.space import make_ranges


def test_flags_offer_every_sampler_pruner_and_range() -> None:
    assert tuple(SAMPLERS) == SAMPLER_NAMES
    assert tuple(PRUNERS) == PRUNER_NAMES
    assert tuple(make_ranges(TrialConfig())) == SEARCHED_FIELDS
