"""Stages rows as one typed, temporary Parquet file, in constant memory.

Theory of operation
-------------------
`from_database.stage_query` is the entry point. A reader (`readers`) runs the query and returns its rows as a temporary
Parquet file, which either DuckDB writes itself (`engine`) or `staging.ParquetStaging` from record batches of Arrow.
Readers run in a separate thread (`interruptible`), because database drivers block in C code, where neither a kill nor a
timeout reaches them. The main thread waits, and cancels the query if it is interrupted.

Temporary files have no name. They are created in a directory of the user's choice and disappear when the process ends,
even if it crashes.

If the database reports column types before the query runs (PostgreSQL), the schema is fixed. Otherwise `schema` infers
it while reading: a column without values has no type yet, and a column whose values do not fit its type is promoted to
a wider one. When the schema changes, the staging starts a new segment, and finally merges all segments into one file.
"""
