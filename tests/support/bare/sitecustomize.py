"""On the path of a process, this makes it one of a machine that has only what training needs."""

import sys

MISSING = {"alembic", "dotenv", "kagglehub", "mlflow", "optuna", "platformdirs", "tensorflow"}


class Missing:
    def find_spec(self, name: str, *_: object) -> None:
        if name.split(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())  # type: ignore[arg-type]
