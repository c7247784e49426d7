"""Datasets of Polyteia as Airflow assets."""
