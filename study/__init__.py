"""Fine-tuning studies of ImageNet CNNs on folders of images, tracked in MLflow."""

import os

# Both libraries read these once, while they are imported, and are chatty without them.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Nothing leaves this machine but what goes to the servers that the settings name.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
