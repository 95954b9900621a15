"""Plan and schedule the trials of a study with Optuna; knows no Keras."""
