"""Web pages of the sandbox."""
