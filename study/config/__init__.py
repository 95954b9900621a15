"""A trial's config: its knobs, the recipes of the data sets, its title and its fingerprint.

    python -m study.train --dataset demo --variant 2

A config is resolved in three steps: the recipe of the data set gives the defaults, a variant
changes some of them, and flags change others. Nothing here knows Keras, MLflow or Optuna.
"""
