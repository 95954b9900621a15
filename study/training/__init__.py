"""Train a Keras model on arrays, with TensorFlow or JAX.

Knows no MLflow and no Optuna.
"""
