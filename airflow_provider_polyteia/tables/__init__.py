"""Stages rows as one typed, temporary Parquet file, in constant memory.

Theory of operation
-------------------
`from_database.stage_query` is the entry point. A reader (`readers`) runs the query and returns its rows as a temporary
Parquet file, which either DuckDB writes itself (`engine`) or `staging.ParquetStaging` from record batches of Arrow.
Readers run in a separate thread (`interruptible`), because database drivers block in C code, where neither a kill nor a
timeout reaches them. The main thread waits, and cancels the query if it is interrupted.

Temporary files have no name. They are created in a directory of the user's choice and disappear when the process ends,
even if it crashes.

The drivers of databases (`readers.drivers`) know the types of a query's columns. A column whose type only the values
show (`columns`) begins with that of the last load, or without one, and is promoted to a wider one if its values do not
fit. When the schema changes, the staging starts a new segment, and finally merges all segments into one file.
"""
