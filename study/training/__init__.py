"""Train a Keras model on arrays, with TensorFlow or JAX; knows no MLflow and no Optuna."""
