"""Replies that reject a key, in all forms of the platform (docs/platform-api.md#error-bodies)."""

from __future__ import annotations

from reply_server import Reply

ERROR_REPLIES = {
    "http_401_string": Reply(401, b'{"error": "Unauthorized"}'),
    "http_401_object": Reply(401, b'{"error": {"code": 401, "message": "invalid key", "details": []}}'),
    "http_403_json": Reply(403, b'{"error": {"code": 403, "message": "not allowed"}}'),
    "http_403_text": Reply(403, b"Forbidden", "text/plain"),
    "http_200_code_401": Reply(200, b'{"error": {"code": 401, "message": "invalid key"}}'),
    "http_200_code_403": Reply(200, b'{"error": {"code": 403, "message": "not allowed"}}'),
    "bare_code_403": Reply(200, b'{"code": 403, "message": "not allowed"}'),
}

# Each reply has its own key, which identifies its requests and must not appear in any log or record.
KEYS = {name: f"pak_rejected_{name}_a81c5e" for name in ERROR_REPLIES}
