"""A trial's config: knobs, recipes of the data sets, titles and fingerprint.

    python -m study.train --dataset demo --variant 2

A config is resolved in three steps: the recipe of the data set gives the defaults, a variant
changes some of them, and flags change others. Nothing here knows Keras, MLflow or Optuna.
"""
