"""Readers, one per way to access a database: each runs a query and returns its rows as a temporary Parquet file."""
