"""Fine-tuning studies of ImageNet CNNs on folders of images, tracked in MLflow."""

import logging
import os
from pathlib import Path

# Libraries read these once, while they are imported. They are chatty without them.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("matplotlib").setLevel(logging.ERROR)
# Nothing leaves this machine but what goes to the servers that the settings name.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Figures go to files. A notebook exports a backend that its commands cannot import.
os.environ["MPLBACKEND"] = "Agg"
# An experiment of Keras with JAX, which keras.json may turn on
os.environ["KERAS_NNX_ENABLED"] = "false"
try:
    Path.home()
except RuntimeError:
    # MLflow, matplotlib and kagglehub need a home, though none that can be written. Containers
    # give this one to a user without an entry.
    os.environ["HOME"] = "/"
