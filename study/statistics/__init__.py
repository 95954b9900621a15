"""Metrics, intervals and paired tests of predictions; knows neither Keras nor MLflow."""
