-- Run once, by the PostgreSQL image or by deploy.native: MLflow's runs, its users, Optuna's searches.
-- The names of runs need UTF-8, which a cluster of another locale gives only by template0 and locale C.
CREATE DATABASE mlflow ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE mlflow_auth ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE optuna ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
