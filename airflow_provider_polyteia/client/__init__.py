"""The Polyteia API itself, without Airflow.

Rules (`methods`, `protocol`, `retry`) are pure; the drivers (`sync`, `aio`) only move bytes and sleep.
"""
