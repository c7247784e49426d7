"""A platform for the tests of waits, for a `ScriptedServer`."""

from __future__ import annotations

from servers import data, status

AT = "2026-03-01T06:04:58.512000Z"


class Platform:
    """Datasets, and the responses of the command API to queries for them.

    :param number: how many datasets, ``ds_0`` with the slug ``s0`` and so on.
    :param solution: returns the id of a dataset's solution. Default: ``sol_1`` for all.

    :ivar hides: ids that the list lacks.
    :ivar bare: whether the list shows no uploads.
    :ivar failing: id or ``list`` -> response instead of the data.
    """

    def __init__(self, number=0, solution=lambda _: "sol_1"):
        self.records = {
            f"ds_{n}": {"id": f"ds_{n}", "slug": f"s{n}", "solution_id": solution(n)} for n in range(number)
        }
        self.hides = set()
        self.bare = False
        self.failing = {}

    def upload(self, number, at=AT):
        info = {"uploaded_at": at, "size": 10, "content_type": "text/csv"}
        self.records[f"ds_{number}"]["metadata"] = {"asset_info": info}

    def __call__(self, request):
        params = request.json["params"]
        if request.call == "list_datasets":
            return self.failing.get("list") or self._list(params)
        by_id = {"id": params["id"]} if "id" in params else {"slug": params["slug"]}
        name, value = next(iter(by_id.items()))
        record = next((record for record in self.records.values() if record[name] == value), None)
        return self.failing.get(record and record["id"]) or (data(record) if record else status(404))

    def _list(self, params):
        all_records = (one for one in self.records.values() if one["solution_id"] == params["solution_id"])
        records = [record for record in all_records if record["id"] not in self.hides]
        if self.bare:
            records = [{**record, "metadata": None} for record in records]
        start = (params["page"] - 1) * params["size"]
        items = records[start : start + params["size"]]
        return data({"items": items, "total": len(records), "page": params["page"], "size": params["size"]})
