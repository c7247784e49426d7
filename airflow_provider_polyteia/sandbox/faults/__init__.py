"""Faults."""

from airflow_provider_polyteia.sandbox.faults.specs import FaultError, Faults

__all__ = ["FaultError", "Faults"]
