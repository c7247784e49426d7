"""The platform that the sandbox emulates: records, permissions, files and SQL. Knows neither HTTP nor an API."""
