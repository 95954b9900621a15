-- Run once, by the PostgreSQL image or by native.py: MLflow's runs, its users, Optuna's searches.
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
CREATE DATABASE optuna;
