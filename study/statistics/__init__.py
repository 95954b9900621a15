"""Metrics, intervals and paired tests of predictions.

Knows neither Keras nor MLflow.
"""
