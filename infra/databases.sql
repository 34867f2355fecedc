-- Run once by PostgreSQL when its volume is empty: one database for each thing that is kept.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
CREATE DATABASE ledger;
