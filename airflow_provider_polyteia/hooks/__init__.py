"""Hooks: from an Airflow connection to the platform."""
