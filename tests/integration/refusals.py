"""The replies that say 'this key may not', in every form the platform was seen to use (API reference 3.2, 3.4)."""

from __future__ import annotations

from reply_server import Reply

REFUSALS = {
    "http_401_string": Reply(401, b'{"error": "Unauthorized"}'),
    "http_401_object": Reply(401, b'{"error": {"code": 401, "message": "invalid key", "details": []}}'),
    "http_403_json": Reply(403, b'{"error": {"code": 403, "message": "not allowed"}}'),
    "http_403_text": Reply(403, b"Forbidden", "text/plain"),
    "http_200_code_401": Reply(200, b'{"error": {"code": 401, "message": "invalid key"}}'),
    "http_200_code_403": Reply(200, b'{"error": {"code": 403, "message": "not allowed"}}'),
    "bare_code_403": Reply(200, b'{"code": 403, "message": "not allowed"}'),
}

# A key of its own for each: it tells the requests apart, and must not be found anywhere afterwards.
KEYS = {name: f"pak_refused_{name}_a81c5e" for name in REFUSALS}
