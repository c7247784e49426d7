"""SQL Server's driver, with a connection that behaves as pymssql: broad kinds of types, and a server that describes.

There is no server here. The facts about pymssql are from its source (`_pymssql.pyx`, `_mssql.pyx`), those about
`sp_describe_first_result_set` from Microsoft's documentation.
"""

from __future__ import annotations

import datetime as dt
import importlib
import logging
import sys
import uuid
from decimal import Decimal
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.readers.base import Query, ReadError
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader
from airflow_provider_polyteia.tables.readers.drivers import driver_of

_STRING, _BINARY, _NUMBER, _DATETIME, _DECIMAL = 1, 2, 3, 4, 5
_UUID = uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")
_MOMENT = dt.datetime(2024, 2, 1, 23, 30, 0, 123456, tzinfo=dt.UTC)


class FakeError(Exception):
    pass


def fake_substitute(sql, parameters):
    if sql.count("%s") > len(parameters):
        raise ValueError("more placeholders in sql than params available")
    return (sql % tuple(f"N'{value}'" if isinstance(value, str) else value for value in parameters)).encode()


@pytest.fixture(autouse=True)
def pymssql(monkeypatch):
    """The package pymssql, or what the driver needs of it."""
    try:
        return importlib.import_module("pymssql")
    except ImportError:
        fake, inner = ModuleType("pymssql"), ModuleType("pymssql._mssql")
        fake.Error = fake.OperationalError = fake.ProgrammingError = FakeError
        inner.substitute_params = fake_substitute
        monkeypatch.setitem(sys.modules, "pymssql", fake)
        monkeypatch.setitem(sys.modules, "pymssql._mssql", inner)
        return fake


def column(name, system_type_name, *, precision=0, scale=0, user_type_name=None, is_hidden=False, kind=_STRING):
    return {
        "is_hidden": is_hidden,
        "name": name,
        "system_type_name": system_type_name,
        "user_type_name": user_type_name,
        "precision": precision,
        "scale": scale,
        "kind": kind,
    }


class Cursor:
    def __init__(self, connection, as_dict):
        self.connection, self.as_dict = connection, as_dict
        self.description = None

    def execute(self, sql, *parameters):
        self.connection.log.append((sql, *parameters))
        if sql.startswith("EXEC sp_describe_first_result_set"):
            assert self.as_dict
            if self.connection.describe_error is not None:
                raise self.connection.describe_error
            self._rows = [dict(found, name=found["name"] or None) for found in self.connection.described]
            return
        assert not self.as_dict
        if self.connection.error is not None:
            raise self.connection.error
        visible = [found for found in self.connection.columns if not found["is_hidden"]]
        self.description = tuple((found["name"], found["kind"], None, None, None, None, None) for found in visible)
        self._rows = list(self.connection.rows)

    def fetchall(self):
        return self._rows

    def fetchmany(self, count):
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    def close(self):
        self.connection.closed_cursors += 1


class Connection:
    __module__ = "pymssql._pymssql"

    def __init__(self, columns, rows=(), *, described=None, describe_error=None, error=None):
        self.columns, self.rows = columns, rows
        self.described = columns if described is None else described
        self.describe_error, self.error = describe_error, error
        self.log = []
        self.closed_cursors = 0
        self.is_closed = False
        self.autocommit_state = True

    def autocommit(self, status):
        self.autocommit_state = status

    def cursor(self, as_dict=True):
        return Cursor(self, as_dict)

    def close(self):
        self.is_closed = True


def load(connection, sql="SELECT * FROM t", parameters=None, **options):
    hook = SimpleNamespace(get_conn=lambda: connection)
    with DbApiReader(hook, Query(sql, parameters, **options)).stage(None) as staged:
        return pq.read_table(staged.file)


@pytest.mark.parametrize(
    ("type_name", "digits", "value", "arrow_type", "expected"),
    [
        ("tinyint", (3, 0), 255, pa.int16(), 255),
        ("smallint", (5, 0), -32768, pa.int16(), -32768),
        ("int", (10, 0), 2**31 - 1, pa.int32(), 2**31 - 1),
        ("bigint", (19, 0), 2**63 - 1, pa.int64(), 2**63 - 1),
        ("bit", (1, 0), True, pa.bool_(), True),
        ("decimal(12,2)", (12, 2), Decimal("1.50"), pa.decimal128(12, 2), Decimal("1.50")),
        ("numeric(38,0)", (38, 0), Decimal(10**37), pa.decimal128(38, 0), Decimal(10**37)),
        ("money", (19, 4), Decimal("-922337203685477.5808"), pa.decimal128(19, 4), Decimal("-922337203685477.5808")),
        ("smallmoney", (10, 4), Decimal("1.5"), pa.decimal128(10, 4), Decimal("1.5000")),
        ("real", (24, 0), 1.5, pa.float32(), 1.5),
        ("float", (53, 0), 0.1, pa.float64(), 0.1),
        ("date", (10, 0), dt.date(1, 1, 1), pa.date32(), dt.date(1, 1, 1)),
        ("date", (10, 0), "2024-02-29", pa.date32(), dt.date(2024, 2, 29)),
        ("time(7)", (16, 7), dt.time(23, 59, 59, 999999), pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("time(7)", (16, 7), "23:59:59.1234567", pa.time64("us"), dt.time(23, 59, 59, 123456)),
        ("datetime", (23, 3), dt.datetime(2024, 2, 1), pa.timestamp("us"), dt.datetime(2024, 2, 1)),
        ("smalldatetime", (16, 0), dt.datetime(2024, 2, 1), pa.timestamp("us"), dt.datetime(2024, 2, 1)),
        (
            "datetime2(7)",
            (27, 7),
            dt.datetime(1, 1, 1, 0, 0, 0, 1),
            pa.timestamp("us"),
            dt.datetime(1, 1, 1, 0, 0, 0, 1),
        ),
        ("datetime2(7)", (27, 7), "2024-02-01 23:30:00.1234567", pa.timestamp("us"), _MOMENT.replace(tzinfo=None)),
        ("uniqueidentifier", (0, 0), _UUID, pa.string(), str(_UUID)),
        ("xml", (0, 0), "<a/>", pa.string(), "<a/>"),
        ("nvarchar(max)", (0, 0), "é", pa.string(), "é"),
        ("char(3)", (0, 0), "é  ", pa.string(), "é  "),
        ("ntext", (0, 0), "", pa.string(), ""),
        ("sysname", (0, 0), "a", pa.string(), "a"),
        ("sql_variant", (0, 0), 5, pa.string(), "5"),
        ("sql_variant", (0, 0), Decimal("1.50"), pa.string(), "1.50"),
        ("sql_variant", (0, 0), b"\x00\xff", pa.string(), "0x00ff"),
        ("sql_variant", (0, 0), _UUID, pa.string(), str(_UUID)),
        ("varbinary(max)", (0, 0), b"\x00\xff", pa.binary(), b"\x00\xff"),
        ("image", (0, 0), b"\x00\xff", pa.binary(), b"\x00\xff"),
        ("timestamp", (0, 0), b"\x00" * 8, pa.binary(), b"\x00" * 8),
    ],
)
def test_types(type_name, digits, value, arrow_type, expected):
    """Each type of SQL Server has one type of Parquet, for no, one and many rows."""
    info = column("c", type_name, precision=digits[0], scale=digits[1], kind=_BINARY)
    for rows in ([], [(value,)], [(None,), *[(value,)] * 2500]):
        table = load(Connection([info], rows))
        assert table.schema == pa.schema([("c", arrow_type)])
        assert table.column(0).to_pylist() == [None if row[0] is None else expected for row in rows]


@pytest.mark.parametrize(
    ("scale", "value"),
    [
        (6, _MOMENT),
        (6, _MOMENT.astimezone(dt.timezone(dt.timedelta(hours=2)))),
        (7, "2024-02-02 01:30:00.1234567 +02:00"),
        (7, "2024-02-01 18:30:00.1234567 -05:00"),
        # FreeTDS 1.5 reads this structure as 2024-02-02 01:30:00.1234567 +02:00 (dbanydatecrack).
        (7, bytes.fromhex("87629af9c4000000 09b10000 7800 07e0")),
        (7, (846001234567).to_bytes(5, "little") + (738916).to_bytes(3, "little") + (120).to_bytes(2, "little")),
        (6, (84600123456).to_bytes(5, "little") + (738916).to_bytes(3, "little") + b"\x88\xff"),
    ],
)
def test_datetimeoffset(scale, value):
    """A datetimeoffset is in UTC, whatever form the versions of pymssql and of the protocol give it."""
    info = column("c", f"datetimeoffset({scale})", precision=34, scale=scale, kind=_BINARY)
    for rows in ([], [(value,)], [(None,), (value,)]):
        table = load(Connection([info], rows))
        assert table.schema == pa.schema([("c", pa.timestamp("us", "UTC"))])
        assert table.column(0).to_pylist() == [row[0] and _MOMENT for row in rows]


def test_statements():
    """The server describes the query first; both are sent in a transaction that is not committed."""
    connection = Connection([column("a", "int"), column("b", "int", is_hidden=True)], [(1,)])
    assert load(connection, "SELECT '%' AS a").to_pydict() == {"a": [1]}
    assert connection.log == [
        ("EXEC sp_describe_first_result_set @tsql = %s", ("SELECT '%' AS a",)),
        ("SELECT '%' AS a",),
    ]
    assert (connection.autocommit_state, connection.closed_cursors, connection.is_closed) == (False, 2, True)


def test_parameters():
    """The query is described with its parameters as literals, as pymssql sends it."""
    connection = Connection([column("a", "int")])
    load(connection, "SELECT a FROM t WHERE b = %s AND c = %s", ("x", 1))
    assert connection.log == [
        ("EXEC sp_describe_first_result_set @tsql = %s", ("SELECT a FROM t WHERE b = N'x' AND c = 1",)),
        ("SELECT a FROM t WHERE b = %s AND c = %s", ("x", 1)),
    ]
    with pytest.raises(PolyteiaConfigurationError, match="parameters do not fit the SQL: more placeholders"):
        load(connection, "SELECT a FROM t WHERE b = %s AND c = %s", ("x",))


@pytest.mark.parametrize(
    ("system_type_name", "user_type_name", "expected"),
    [
        (None, "geography", r"geography, .* with column\.STAsText\(\)"),
        (None, "geometry", r"geometry, .* with column\.STAsText\(\)"),
        (None, "hierarchyid", r"hierarchyid, .* with column\.ToString\(\)"),
        (None, "Point", r"Point, .* with column\.ToString\(\)"),
    ],
)
def test_unsupported_types(system_type_name, user_type_name, expected):
    """A type of .NET is an error that names the column and the method to use."""
    info = column("shape", system_type_name, user_type_name=user_type_name, kind=_BINARY)
    with pytest.raises(PolyteiaConfigurationError, match=f"Column 'shape' has the type {expected}"):
        load(Connection([info]))


def test_without_description(pymssql, caplog):
    """If the server cannot describe the query, the kinds of pymssql and the values decide; the log says so."""
    caplog.set_level(logging.INFO)
    error = pymssql.OperationalError((11526, b"The metadata could not be determined because '#secret'"))
    error.args = error.args[0]
    kinds = {"s": _STRING, "d": _DATETIME, "n": _NUMBER, "m": _DECIMAL, "b": _BINARY, "u": _BINARY}
    infos = [column(name, None, kind=kind) for name, kind in kinds.items()]
    row = ("a", dt.datetime(2024, 2, 1), 5, Decimal("1.50"), b"\x00", _UUID)
    table = load(Connection(infos, [row, (None,) * 6], describe_error=error))
    assert table.schema.types == [
        pa.string(),
        pa.timestamp("us"),
        pa.int64(),
        pa.decimal128(38, 2),
        pa.binary(),
        pa.string(),
    ]
    assert tuple(table.to_pylist()[0].values()) == (*row[:5], str(_UUID))
    assert "not known before the query runs (error 11526)" in caplog.text
    assert "secret" not in caplog.text
    last = dict(zip(table.schema.names, map(str, table.schema.types), strict=True))
    assert load(Connection(infos, describe_error=error), last=last).schema == table.schema


def test_other_description():
    """A description of other columns than those of the query is not used."""
    table = load(Connection([column("a", "int", kind=_NUMBER)], [(1,)], described=[column("b", "int")]))
    assert table.schema == pa.schema([("a", pa.int64())])


def test_column_without_name():
    """An expression without a name is an error."""
    with pytest.raises(PolyteiaConfigurationError, match="Column 2 of the query has no name; name it with AS"):
        load(Connection([column("a", "int"), column("", "int")]))


def test_declared_type():
    """A declared type replaces the type of the column."""
    table = load(Connection([column("a", "int")], [(1,)]), declared={"a": pa.decimal128(5, 2)})
    assert table.to_pydict() == {"a": [Decimal("1.00")]}


@pytest.mark.parametrize(
    ("number", "message", "expected"),
    [
        (
            208,
            "Invalid object name 'street'.DB-Lib error message 20018, severity 16:\n",
            "error 208: Invalid object name 'street'.",
        ),
        (102, "Incorrect syntax near 'Jan Jansen'.", "error 102: Incorrect syntax near '...'."),
        (102, "Incorrect syntax near 'street's Jansen'.", "error 102: Incorrect syntax near '...'."),
        (102, "Incorrect syntax near 'street' and 'O'Jansen'.", "error 102: Incorrect syntax near '...'."),
        (20003, "Adaptive Server connection timed out (10.0.0.5)", "error 20003: Adaptive Server connection timed out"),
        (245, "Conversion failed when converting the varchar value 'Jan Jansen' to data type int.", "Error 245"),
        (220, "Arithmetic overflow error for data type tinyint, value = 300.", "Error 220"),
    ],
)
def test_errors_without_values(pymssql, number, message, expected):
    """The text of an error has no value of a row or of a parameter."""
    error = pymssql.OperationalError(number, message.encode())
    with pytest.raises(ReadError) as raised:
        load(Connection([column("a", "int")], error=error), "SELECT * FROM street")
    assert expected in str(raised.value)
    assert "Jansen" not in str(raised.value)
    assert "300" not in str(raised.value)


def test_value_of_another_form():
    """A value that cannot be read is an error without it."""
    with pytest.raises(ReadError) as raised:
        load(Connection([column("a", "date")], [("Jan Jansen",)]))
    assert str(raised.value) == "ValueError"


def test_connection_of_the_package():
    """The driver is chosen by pymssql's own class, whose cursors have what it uses."""
    package = sys.modules["pymssql"]
    if not hasattr(package, "__version__"):
        pytest.skip("pymssql is not installed")
    assert package.Connection.__module__.startswith("pymssql")
    assert all(hasattr(package.Connection, name) for name in ("autocommit", "cursor", "close"))
    inner = importlib.import_module("pymssql._mssql")
    assert (inner.STRING, inner.BINARY, inner.NUMBER, inner.DATETIME, inner.DECIMAL) == (1, 2, 3, 4, 5)
    sent = inner.substitute_params("EXEC sp_describe_first_result_set @tsql = %s", ("SELECT N'it''s %s'",))
    assert sent == b"EXEC sp_describe_first_result_set @tsql = N'SELECT N''it''''s %s'''"


def test_driver():
    """The connection of pymssql has its own driver; it has no way to cancel a query."""
    driver = driver_of(Connection([]), lambda: None)
    assert type(driver).__name__ == "PymssqlDriver"
    driver.cancel()
