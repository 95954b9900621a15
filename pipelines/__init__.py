"""Commands that read finished runs from MLflow and write tables and pages."""
