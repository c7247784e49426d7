"""The command API of the sandbox: `POST /api`, file transfers and the token exchange."""
