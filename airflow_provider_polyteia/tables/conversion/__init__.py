"""Conversion of files to typed Parquet, by DuckDB and calamine."""
