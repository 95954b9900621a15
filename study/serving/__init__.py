"""Save, register, describe and load trained models."""
