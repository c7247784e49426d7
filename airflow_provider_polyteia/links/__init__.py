"""Links from Airflow to Polyteia."""
