"""Commands that read finished runs from MLflow and write tables and pages."""

import study  # noqa: F401  its settings are for libraries that are imported next
