"""Stained white blood cells, 4 classes, 12,515 augmented copies of 348 photographs (BCCD, MIT)."""

from study.data.kaggle import image_root
from study.data.kaggle import KaggleSet
from study.data.kaggle import list_entries
from study.data.listing import DataSet
from study.data.listing import Listing

KAGGLE = KaggleSet(
    name="blood",
    handle="paultimothymooney/blood-cells",
    roots=("dataset2-master/dataset2-master/images", "dataset2-master/images", "images"),
    parts=("TRAIN", "TEST", "TEST_SIMPLE"),
    labels=("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"),
)


def find() -> Listing:
    """All images of TRAIN, TEST and TEST_SIMPLE. The originals behind them are not known.

    The number in a file name is not the original's: grouping by it would leak.

    Raises:
        DataError: the data set cannot be found.
    """
    root = image_root(KAGGLE)
    return Listing(KAGGLE.url, root, list_entries(KAGGLE, root))


BLOOD = DataSet(find, one_per_name=True, report_sizes={"pooled": (8007, 2000, 2500)})
