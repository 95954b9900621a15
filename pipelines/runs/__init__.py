"""Read finished runs and their predictions from MLflow."""
