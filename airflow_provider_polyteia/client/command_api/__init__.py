"""The command API: commands and queries, posted as JSON (docs/platform-api.md)."""
