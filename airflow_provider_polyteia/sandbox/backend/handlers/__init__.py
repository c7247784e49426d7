"""What the commands and queries do: each takes the caller's session and the checked params."""
