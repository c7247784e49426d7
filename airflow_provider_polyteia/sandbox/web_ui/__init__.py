"""The web pages of the sandbox."""
