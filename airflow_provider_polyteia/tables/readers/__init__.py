"""Readers: each runs one query and yields its rows as Arrow record batches."""
