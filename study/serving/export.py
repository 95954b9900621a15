"""A trained model as a folder that MLflow can serve, with all that it needs to answer by itself."""

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

PACKAGE = "finetune_study"  # what the code is called in there: not `study`, which may be about
CODE = ("serving/classifier.py", "data/decode.py")
NEEDED = ("tensorflow", "keras", "numpy", "pandas", "pillow")


def save(model: Any, classes: Sequence[str], example: NDArray[Any], folder: Path) -> None:
    """Write an MLflow model: weights, code, signature, an input example, and what to install.

    No pickle: the network is Keras' own file `data/model.keras`, read in its safe mode, and
    `study/serving/classifier.py` in front of it is plain code.

    Args:
        model: of Keras; uint8 (n, size, size, 3) in, probabilities (n, classes) out.
        classes: their names, in the order of the outputs.
        example: an image, uint8 (height, width, 3).
        folder: where to; does not exist, but what it is in does.
    """
    import mlflow.pyfunc  # late: it takes a second, and only a trial's process needs it

    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        parts = Path(name)
        model.save(parts / "model.keras")
        for file in CODE:
            (parts / PACKAGE / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(__file__).parents[1] / file, parts / PACKAGE / file)
        mlflow.pyfunc.save_model(
            path=str(folder),
            loader_module=f"{PACKAGE}.serving.classifier",
            data_path=str(parts / "model.keras"),
            code_paths=[str(parts / PACKAGE)],
            model_config={"classes": list(classes)},
            signature=_signature(classes),
            input_example=pd.DataFrame({"image": [_png(example)]}),
            # named, for MLflow would find them out by loading the model in another process
            pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
        )


def _signature(classes: Sequence[str]) -> ModelSignature:
    # any: MLflow knows no type for "bytes, their base64, or pixels"; it is checked by who serves
    inputs = Schema([ColSpec(AnyType(), "image")])
    return ModelSignature(inputs, Schema([ColSpec(DataType.float, name) for name in classes]))


def _png(image: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
