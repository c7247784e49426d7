"""A server of the RPC API that rejects each key in one form (docs/platform-api.md#rpc-errors), and records requests."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from reply_server import Reply

EXCHANGE = "/rpc/auth/personalAccessKey/exchange"
UPLOAD = "/api/upload/dataset/ds_1"


def _procedure_error(status: int, code: str) -> Reply:
    fields = {"defined": False, "code": code, "status": status, "message": f"{code} from the test"}
    return Reply(status, json.dumps({"json": fields}).encode())


def _rest_error(status: int, code: str) -> Reply:
    return Reply(status, json.dumps({"error": f"{code} from the test", "code": code}).encode())


_TEXT_403 = Reply(403, b"Forbidden", "text/plain")
# Form -> what rejects the key: the exchange, or both a procedure and an upload.
REJECTIONS: dict[str, dict[str, Reply]] = {
    "exchange_401": {"exchange": _procedure_error(401, "UNAUTHORIZED")},
    "exchange_403": {"exchange": _procedure_error(403, "FORBIDDEN")},
    "exchange_403_text": {"exchange": _TEXT_403},
    "call_401": {"procedure": _procedure_error(401, "UNAUTHORIZED"), "upload": _rest_error(401, "auth.unauthorized")},
    "call_403": {"procedure": _procedure_error(403, "FORBIDDEN"), "upload": _rest_error(403, "auth.forbidden")},
    "call_403_text": {"procedure": _TEXT_403, "upload": _TEXT_403},
    "call_412": {
        "procedure": _procedure_error(412, "PRECONDITION_FAILED"),
        "upload": _rest_error(412, "dpa.not-acknowledged"),
    },
}
EXPIRING = ("expires_once", "expires_always")
"""Forms of a session that is rejected only after it was used."""
KEYS = {form: f"pak_rejected_{form}_5d07b2" for form in (*REJECTIONS, *EXPIRING)}
_FORMS = {key: form for form, key in KEYS.items()}


class RpcReplyServer:
    """Listens on a loopback port; a context manager.

    :ivar requests: form -> paths of its requests, in order.
    :ivar tokens: the session tokens that were issued.
    """

    def __enter__(self) -> Self:
        self.requests: dict[str, list[str]] = {}
        self.tokens: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def reply(self, path: str, bearer: str, body: bytes) -> Reply:
        """Return the reply to a request, and record it."""
        if path == EXCHANGE:
            form = _FORMS[json.loads(body)["json"]["key"]]
            self.requests.setdefault(form, []).append(path)
            return REJECTIONS.get(form, {}).get("exchange") or self._session(form)
        form = self.tokens[bearer]
        self.requests[form].append(path)
        if form in REJECTIONS:
            return REJECTIONS[form]["upload" if path == UPLOAD else "procedure"]
        return self._expiring(form, path, json.loads(body)["json"])

    def _session(self, form: str) -> Reply:
        token = f"session-{form}-{len(self.tokens)}-91c6e4"
        self.tokens[token] = form
        return Reply(200, json.dumps({"json": {"token": token, "organizationId": "org_1"}}).encode())

    def _expiring(self, form: str, path: str, given: dict[str, Any]) -> Reply:
        """Reject the second dataset that is asked for: once, or always."""
        times = self.requests[form].count(path)
        if given["id"] == "ds_second" and (form == "expires_always" or times == 2):
            return _procedure_error(401, "UNAUTHORIZED")
        return Reply(200, json.dumps({"json": {"id": given["id"]}}).encode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
                reply = server.reply(self.path, bearer, body)
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
                """Log nothing: the tests read `requests`."""

        return Handler
