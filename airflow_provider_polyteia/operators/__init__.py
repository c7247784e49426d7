"""Operators: commands and queries as tasks."""
