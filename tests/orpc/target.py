"""A server of the RPC API that a test talks to with plain requests, and what exists on it before an exchange."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orpc.exchanges import NEW_DATASET
from orpc.matching import fill

if TYPE_CHECKING:
    import requests

TIMEOUT = 10


@dataclass
class Target:
    """A running server.

    :param base_url: URL without the prefix of the RPC API.
    :param dialect: 1 or 2, the major version of the framework.
    :param known: Fields of `GIVEN` that are the same in all tests: key, organizationId, organizationSlug, solutionId.
    """

    base_url: str
    dialect: int
    known: dict[str, str]
    session: requests.Session

    def __post_init__(self):
        self.session.trust_env = False

    def prepare(self):
        """Open a session, create a dataset, and return what `exchanges.GIVEN` lists."""
        given = self.known | {"slug": _new_slug(), "newSlug": _new_slug()}
        credentials = {"key": given["key"], "organizationId": given["organizationId"]}
        given["token"] = self.call("auth/personalAccessKey/exchange", credentials, given)["token"]
        dataset = fill(NEW_DATASET, self.dialect, given) | {"slug": given["slug"]}
        given["datasetId"] = self.call("dataset/createDataset", dataset, given)["id"]
        return given

    def call(self, procedure, content, given):
        """Call a procedure that succeeds and return its output, not decoded."""
        headers = {"Authorization": f"Bearer {given['token']}"} if "token" in given else {}
        response = self._send("POST", f"/rpc/{procedure}", headers=headers, json={"json": content})
        assert response.status_code == 200, response.text
        return response.json()["json"]

    def perform(self, exchange, given):
        """Send the request of an exchange and return the differences between the response and the expected one."""
        method, path, headers, content = exchange.request(self.dialect, given)
        response = self._send(method, path, headers=headers, data=content)
        content_type = response.headers.get("Content-Type")
        return exchange.differences(self.dialect, given, response.status_code, content_type, response.content)

    def _send(self, method, path, **arguments):
        return self.session.request(method, self.base_url + path, timeout=TIMEOUT, allow_redirects=False, **arguments)


def perform_and_verify(target, exchange):
    """Perform an exchange. The response is the expected one, and unless it is a success, the dataset is unchanged."""
    given = target.prepare()
    by_id = {"id": given["datasetId"]}
    before = target.call("dataset/getDatasetById", by_id, given)
    found = target.perform(exchange, given)
    assert not found, "\n".join(found)
    if exchange.response(target.dialect).status >= 400:
        assert target.call("dataset/getDatasetById", by_id, given) == before


def _new_slug():
    return f"bookings-{uuid.uuid4().hex[:12]}"
