"""Transfers: files and the results of queries into datasets, and out of them."""
