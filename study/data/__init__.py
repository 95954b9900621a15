"""Finds or downloads a data set, checks it, groups it, splits it, and decodes it once.

data = prepare("demo", image_size=64)
split = make_split(data, "pooled", seed=0)
x_train, y_train = data.x[split.train], data.y[split.train]
"""

from study.data.cache import cache_dir
from study.data.cache import clear_cache
from study.data.listing import DataError
from study.data.prepare import Data
from study.data.prepare import data_digest
from study.data.prepare import has_groups
from study.data.prepare import prepare
from study.data.prepare import Samples
from study.data.split import groups_tested
from study.data.split import leaking
from study.data.split import make_split
from study.data.split import report_sizes
from study.data.split import Split

__all__ = [
    "Data",
    "DataError",
    "Samples",
    "Split",
    "cache_dir",
    "clear_cache",
    "data_digest",
    "groups_tested",
    "has_groups",
    "leaking",
    "make_split",
    "prepare",
    "report_sizes",
]
