-- Run once, by the PostgreSQL image or by deploy.native: MLflow's runs, its users, Optuna's searches.
-- The names of runs need UTF-8. A cluster with another locale can hold it only in a database that is
-- made from template0 with locale C.
CREATE DATABASE mlflow ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE mlflow_auth ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE optuna ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
