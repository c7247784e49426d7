"""Excel files: read by both APIs, with the first sheet, its header and its types."""

from __future__ import annotations

import datetime as dt
import io

import pytest
import xlsxwriter

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLS = "application/vnd.ms-excel"
HEADER = ["AGS", "rows", "share", "open", "day", "at", "note", "empty", "mixed"]
ROWS = [
    ["01001000", 1, 0.5, True, dt.date(2026, 1, 31), dt.datetime(2026, 1, 31, 8, 30), "Kämmerei", None, 1],
    ["14612000", -2, 2, False, dt.date(2026, 2, 1), dt.datetime(2026, 2, 1), None, None, "x"],
    [None, 2**40, None, None, None, None, "y", None, 2.5],
]
TYPES = ["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "VARCHAR", "VARCHAR", "VARCHAR"]
VALUES = [
    ["01001000", 1, 0.5, True, "2026-01-31", "2026-01-31T08:30:00", "Kämmerei", None, "1"],
    ["14612000", -2, 2.0, False, "2026-02-01", "2026-02-01T00:00:00", None, None, "x"],
    [None, 2**40, None, None, None, None, "y", None, "2.5"],
]


def workbook(*rows, sheets=("First",), top=0, left=0):
    """Return an xlsx file with the rows in its first sheet, and text in the others."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        formats = {dt.date: book.add_format({"num_format": "yyyy-mm-dd"})}
        formats[dt.datetime] = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        formats[dt.time] = book.add_format({"num_format": "hh:mm:ss"})
        first, *others = map(book.add_worksheet, sheets)
        for row, cells in enumerate(rows, top):
            for column, cell in enumerate(cells, left):
                first.write(row, column, cell, *([formats[type(cell)]] if type(cell) in formats else []))
        for other in others:
            other.write(0, 0, "not read")
    return content.getvalue()


TABLE = workbook(HEADER, *ROWS, sheets=("First", "Second"))


@pytest.fixture
def rows_of(start, connect):
    """Upload a file to a sandbox with the command API, and return the columns and rows that SQL finds."""

    def read(content, content_type=XLSX):
        api = connect(start())
        dataset = api.new_dataset()
        assert api.upload(api.upload_token(dataset, content_type), content).status_code == 200
        result = api.sql(f"FROM '{{{{{dataset}}}}}'", [dataset]).json()
        assert "error" not in result, result
        columns = [(column["name"], column["type"]) for column in result["data"]["columns"]]
        return columns, result["data"]["rows"]

    return read


def test_a_workbook_can_be_queried(rows_of):
    """The first row of the first sheet is the header. Each column has the type of its cells."""
    assert rows_of(TABLE) == (list(zip(HEADER, TYPES, strict=True)), VALUES)


def test_the_record_describes_a_workbook(api, sandbox, dataset):
    """Columns, the number of rows and the first rows are shown, and the stored bytes are those that were sent."""
    api.upload(api.upload_token(dataset, XLSX), TABLE)
    (stored,) = sandbox.datasets
    assert stored["data"]["rows"] == 3
    columns = stored["metadata"]["schema"]["columns"]
    kinds = ["text", "number", "number", "boolean", "date", "datetime", "text", "text", "text"]
    assert [column["canonical_type"] for column in columns.values()] == kinds
    assert sandbox.content(dataset) == TABLE
    assert "Kämmerei" in api.send("GET", f"/ui/datasets/{dataset}").text


def test_a_workbook_can_be_exported_and_joined(api, dataset):
    """Exports and queries with several datasets read workbooks and other formats, and nothing else."""
    api.upload(api.upload_token(dataset, XLSX), workbook(["id", "name"], [1, "a"], [2, "b"]))
    other = api.new_dataset("csv")
    api.upload(api.upload_token(other), b"id,amount\n2,80\n")
    sql = f"FROM {dataset} JOIN {other} USING (id) SELECT name, amount"
    token = api.export_token(sql, [dataset, other], "text/csv")
    assert api.download(token).content == b"name,amount\nb,80\n"
    stolen = api.sql(f"FROM {dataset}, read_text('/etc/passwd')", [dataset])
    assert stolen.json()["error"]["code"] == 400


def test_the_rpc_api_ingests_a_workbook(start):
    """Ingest, statistics and export of the RPC API read workbooks as well."""
    sandbox = start(api="rpc")
    place = {"organizationId": SANDBOX_ORGANIZATION_ID, "solutionId": SANDBOX_SOLUTION_ID}
    fields = {"name": "B", "slug": "b", "description": "", "source": "", "documentation": {}}
    dataset = sandbox.call("dataset/createDataset", {**place, **fields})["id"]
    sandbox.upload(dataset, TABLE, XLSX)
    stats = sandbox.call("dataset/getDatasetStats", {"id": dataset})
    types = [{"name": name, "type": kind} for name, kind in zip(HEADER, TYPES, strict=True)]
    assert stats == {"rowCount": "3", "columns": types}
    columns = sandbox.call("dataset/getDatasetById", {"id": dataset})["columns"]
    assert [column["name"] for column in columns] == HEADER


def test_the_format_is_recognized_by_the_content(rows_of):
    """The content types of .xlsx and .xls are both read, whichever the file is."""
    assert rows_of(TABLE, XLS) == rows_of(TABLE, XLSX)


@pytest.mark.parametrize(
    ("rows", "columns", "values"),
    [
        ([["a", "A", "a", None, 5]], ["a", "A_1", "a_2", "column3", "5"], []),
        ([["a"], [None], [1], [None]], ["a"], [[1]]),
        ([["t", "d"], [dt.time(8, 30), dt.date(2026, 1, 1)], [None, "x"]], ["t", "d"], None),
        ([["n"], [1e300]], ["n"], [[1e300]]),
        ([["n"], [1e17]], ["n"], [[1e17]]),
        ([["n"], [1], [True]], ["n"], [["1"], ["True"]]),
    ],
    ids=["names", "empty rows", "time", "large", "inexact", "mixed"],
)
def test_unusual_sheets(rows, columns, values, rows_of):
    """Names are unique, empty rows are left out, and a column with several types is text."""
    found, result = rows_of(workbook(*rows))
    assert [name for name, _ in found] == columns
    if values is None:
        assert result == [["08:30:00", "2026-01-01"], [None, "x"]]
    else:
        assert result == values


def test_a_table_may_begin_anywhere(rows_of):
    """Empty rows and columns around the table are not part of it."""
    assert rows_of(workbook(["a", "b"], [1, 2], top=3, left=2)) == ([("a", "BIGINT"), ("b", "BIGINT")], [[1, 2]])


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"PK\x03\x04", "cannot be read"),
        (b"", "cannot be read"),
        (b"a,b\n1,2\n", "cannot be read"),
        (TABLE[:-40], "cannot be read"),
        (workbook(), "the first sheet is empty"),
    ],
)
@pytest.mark.parametrize("content_type", [XLSX, XLS])
def test_unreadable_workbooks(content, cause, content_type, start, connect):
    """The command API stores the file and reports the cause with the query; an ingest of the RPC API fails."""
    sandbox = start()
    api = connect(sandbox)
    dataset = api.new_dataset()
    assert api.upload(api.upload_token(dataset, content_type), content).status_code == 200
    rejected = api.sql(f"FROM {dataset}", [dataset]).json()["error"]
    assert rejected["code"] == 400
    assert cause in rejected["message"]
    assert str(sandbox.platform.files.root) not in rejected["message"]
