"""Responses in the form of the RPC API, for a server with scripted replies."""

from __future__ import annotations

import json

from servers import Reply

TOKEN = "session-SECRET-987654"  # made up


def output(value, *meta, status=200, **headers):
    """A response of a procedure."""
    body = {"json": value} | ({"meta": list(meta)} if meta else {})
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(body).encode(), named)


def failure(status, code, message="no", **data):
    """An error of a procedure."""
    fields = {"defined": False, "code": code, "status": status, "message": message, **({"data": data} if data else {})}
    return output(fields, status=status)


SESSION = output({"token": TOKEN, "organizationId": "org_1"})
