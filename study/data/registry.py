"""Look up data sets by name."""

from functools import partial

from study.common.errors import DataError
from study.common.folder_names import get_folder_path
from study.data import folder
from study.data.blood import BLOOD
from study.data.chest import CHEST
from study.data.demo import DEMO
from study.data.listing import DataSet

DATASETS = {"chest": CHEST, "blood": BLOOD, "demo": DEMO}


def get_dataset(name: str) -> DataSet:
    """Return the data set of that name, which may also be `folder:PATH`.

    Raises:
        DataError: there is no data set of that name.
    """
    if path := get_folder_path(name):
        return DataSet(partial(folder.find_images, path))
    if name not in DATASETS:
        raise DataError(
            f"dataset {name!r} is unknown: choose one of {', '.join(DATASETS)}, or the path of a "
            "folder, as folder:PATH"
        )
    return DATASETS[name]
