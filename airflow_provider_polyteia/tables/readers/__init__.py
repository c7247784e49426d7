"""Readers, one per way to access a database: each runs a query and yields its rows as Arrow record batches."""
