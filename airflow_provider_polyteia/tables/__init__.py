"""From the result of a SQL query, in any database that Airflow knows, to a Parquet file; in constant memory.

Theory of operation
-------------------
`fetch` does it: a reader (`adbc`, `dbapi`) yields the rows as Arrow record batches, and a `spool` writes them to a
temporary Parquet file. All of it happens in a thread, because database drivers block in C, where neither a kill nor a
time-out reaches them; the main thread waits, and cancels the query if it is interrupted.

Temporary files have no name. They live in a directory of the user's choice, and vanish with the process, however it
ends.

Types arrive as types. Where the database tells them beforehand (PostgreSQL), they are fixed. Where it does not, they
are found while reading (`columns`): a column without a value so far has no type yet, and one whose values do not fit
its type gets a wider one. The spool then begins a new segment, and in the end rewrites the segments as one file.
"""
