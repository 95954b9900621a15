"""Plan and schedule the trials of a study with Optuna.

This package knows nothing of Keras.
"""
