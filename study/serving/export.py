"""Write a trained model as a folder that MLflow can serve.

The folder has all that the model needs to work by itself.
"""

import hashlib
import io
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType
from mlflow.types.schema import ColSpec
from mlflow.types.schema import DataType
from mlflow.types.schema import Schema
from numpy.typing import NDArray
from PIL import Image

SOURCE = Path(__file__).parents[1]  # the folder of the package `study`
CODE = ("serving/classifier.py", "data/decode.py", "data/grey.py", "data/intact.py")
NEEDED = ("tensorflow", "keras", "numpy", "pandas", "pillow", "simplejpeg")


def save_model(model: Any, classes: Sequence[str], example: NDArray[Any], folder: Path) -> None:
    """Write an MLflow model into a folder.

    It has weights, code, a signature, an input example, and a list of packages to install. Nothing
    is pickled: the network is Keras' own file `data/model.keras`, which is read in safe mode, and
    `study/serving/classifier.py`, which calls it, is plain code.

    Args:
        model: a Keras model, from uint8 (n, size, size, 3) to probabilities (n, classes).
        classes: their names, in the order of the outputs.
        example: an image, uint8 (height, width, 3).
        folder: must not exist, but its parent folder must.
    """
    # Imported late, because it takes a second and only a trial's process needs it.
    import mlflow.pyfunc

    package = _name_package()
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary_folder:
        parts = Path(temporary_folder)
        model.save(parts / "model.keras")
        for file in CODE:
            (parts / package / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCE / file, parts / package / file)
        mlflow.pyfunc.save_model(
            path=str(folder),
            loader_module=f"{package}.serving.classifier",
            data_path=str(parts / "model.keras"),
            code_paths=[str(parts / package)],
            model_config={"classes": list(classes)},
            signature=_make_signature(classes),
            input_example=pd.DataFrame({"image": [_encode_png(example)]}),
            # Otherwise MLflow would find them by loading the model in another process.
            pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
        )


def _name_package() -> str:
    """Return the name of the package that is copied into the model.

    No other code has this name, because Python would import the first of two packages of one name
    for both: somebody's `study`, or the code of another model in the same process.
    """
    code = b"".join((SOURCE / file).read_bytes() for file in CODE)
    return f"finetune_study_{hashlib.sha256(code).hexdigest()[:12]}"


def _make_signature(classes: Sequence[str]) -> ModelSignature:
    # MLflow has no type for "bytes, their base64, or pixels". The classifier checks its input.
    inputs = Schema([ColSpec(AnyType(), "image")])
    return ModelSignature(inputs, Schema([ColSpec(DataType.float, name) for name in classes]))


def _encode_png(image: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
