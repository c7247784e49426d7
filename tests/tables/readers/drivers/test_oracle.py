"""Oracle's driver, with a connection that behaves as oracledb: type handlers, LOBs, and timestamps without zone.

There is no server here. The facts about oracledb are from its source (`impl/base/converters.pyx`, `cursor.pyx`).
"""

from __future__ import annotations

import array
import datetime as dt
import importlib
import json
import re
import sys
from collections import namedtuple
from decimal import Decimal
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.readers.base import Query, ReadError
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader
from airflow_provider_polyteia.tables.readers.drivers import driver_of, oracle

_CLOBS = ("JSON_SERIALIZE", "XMLSERIALIZE")
_DEFAULTS = {"DB_TYPE_NUMBER": float}
_IntervalYM = namedtuple("_IntervalYM", "years months")  # noqa: PYI024 - as oracledb's


class FakeError(Exception):
    pass


@pytest.fixture(autouse=True)
def oracledb(monkeypatch):
    """The package oracledb, or what the driver needs of it."""
    try:
        return importlib.import_module("oracledb")
    except ImportError:
        fake = ModuleType("oracledb")
        for name in [*oracle._TYPES, "DB_TYPE_NUMBER", "DB_TYPE_OBJECT", "DB_TYPE_BFILE", "DB_TYPE_CURSOR"]:
            setattr(fake, name, SimpleNamespace(name=name))
        fake.Error = FakeError
        fake.DatabaseError = FakeError
        monkeypatch.setitem(sys.modules, "oracledb", fake)
        return fake


class Info(tuple):
    """What `cursor.description` has: the seven items of PEP 249, and attributes."""

    __slots__ = ()
    options = ()

    def __getattr__(self, name):
        return dict(self[7]).get(name)

    def __len__(self):
        return 7


def column(name, type_name, precision=None, scale=None, size=None, **attributes):
    type_code = getattr(sys.modules["oracledb"], f"DB_TYPE_{type_name}")
    return Info((name, type_code, size, size, precision, scale, True, tuple(attributes.items())))


class Lob:
    """Its `read` would be a request to the server."""


class Variable:
    def __init__(self, wanted, size=0, arraysize=1):
        self.wanted, self.size, self.arraysize = wanted, size, arraysize

    def get(self, value):
        if value is None:
            return None
        return self.wanted(value) if self.wanted is Decimal else value


class Cursor:
    outputtypehandler = None
    prefetchrows = 2
    arraysize = 100

    def __init__(self, connection):
        self.connection = connection
        self.description = None

    def var(self, wanted, size=0, arraysize=1):
        return Variable(wanted, size, arraysize)

    def parse(self, sql):
        self.connection.log.append(("parse", sql, None))
        self.description = self.connection.columns

    def execute(self, sql, parameters=None):
        self.connection.log.append(("execute", sql, parameters))
        if not sql.startswith("SET"):
            if self.connection.error is not None:
                raise self.connection.error
            self.description = [self._selected(info, sql) for info in self.connection.columns]
            self._variables = [self.outputtypehandler(self, info) for info in self.description]
            self.connection.variables = dict(zip([info[0] for info in self.description], self._variables, strict=True))
            self.connection.fetched_with = (self.prefetchrows, self.arraysize)
            self._rows = list(self.connection.rows)
            self._sql = sql

    def _selected(self, info, sql):
        """The column of the query that is executed, which may be around the given one."""
        if re.search(rf'SYS_EXTRACT_UTC\([^"]*"{re.escape(info[0])}"', sql):
            return column(info[0], "TIMESTAMP")
        if any(f'{function}("{info[0]}"' in sql or f'{function}(CONTENT "{info[0]}"' in sql for function in _CLOBS):
            return column(info[0], "CLOB")
        return info

    def fetchmany(self, count):
        rows, self._rows = self._rows[:count], self._rows[count:]
        return [tuple(map(self._get, self.description, self._variables, row)) for row in rows]

    def _get(self, info, variable, value):
        if isinstance(value, dt.datetime) and value.tzinfo is not None:
            is_in_utc = f'"{info[0]}"' in self._sql
            return (value.astimezone(dt.UTC) if is_in_utc else value).replace(tzinfo=None)
        if variable is not None:
            return variable.get(value)
        if info[1].name in oracle._INLINE:
            return Lob()
        return _DEFAULTS.get(info[1].name, lambda default: default)(value)

    def close(self):
        self.connection.log.append(("close", None, None))


class Connection:
    __module__ = "oracledb.connection"

    def __init__(self, columns, rows=(), error=None):
        self.columns, self.rows, self.error = columns, rows, error
        self.autocommit = True
        self.log = []
        self.is_closed = False

    def cursor(self):
        return Cursor(self)

    def decode_oson(self, value):
        return json.loads(value, parse_float=Decimal)

    def cancel(self):
        self.log.append(("cancel", None, None))

    def close(self):
        self.is_closed = True


def load(connection, sql="SELECT * FROM t", parameters=None, **options):
    hook = SimpleNamespace(get_conn=lambda: connection)
    with DbApiReader(hook, Query(sql, parameters, **options)).stage(None) as staged:
        return pq.read_table(staged.file)


def load_one(info, *values, **options):
    """Return the type and the values of a column; its type is the same for no rows and for many."""
    many = load(Connection([info], [(value,) for value in values], **options))
    none = load(Connection([info], []))
    assert none.schema == many.schema or pa.types.is_decimal(many.schema[0].type)
    assert pa.types.is_decimal(none.schema[0].type) == pa.types.is_decimal(many.schema[0].type)
    one = load(Connection([info], [(values[0],)]))
    assert one.column(0).to_pylist() == many.column(0).to_pylist()[:1]
    return many.schema[0].type, many.column(0).to_pylist()


@pytest.mark.parametrize(
    ("precision", "scale", "expected"),
    [
        (17, 0, pa.decimal128(17, 0)),
        (1, 0, pa.decimal128(1, 0)),
        (19, 0, pa.decimal128(19, 0)),
        (38, 0, pa.decimal128(38, 0)),
        (12, 2, pa.decimal128(12, 2)),
        (2, 5, pa.decimal128(5, 5)),
        (5, -2, pa.decimal128(7, 0)),
        (20, -2, pa.decimal128(22, 0)),
        (38, -84, pa.decimal128(38, 0)),
    ],
)
def test_number_with_digits(precision, scale, expected):
    """A NUMBER has its declared digits, regardless of its values."""
    found, _ = load_one(column("N", "NUMBER", precision, scale), None, "0")
    assert found == expected


def test_number_is_exact():
    """A number of 17 digits or 38 digits is read exactly."""
    assert load_one(column("N", "NUMBER", 17, 0), "12345678901234567", None)[1] == [12345678901234567, None]
    value = "1234567890123456789012345678901234.5678"
    assert load_one(column("N", "NUMBER", 38, 4), value)[1] == [Decimal(value)]


@pytest.mark.parametrize(("precision", "scale"), [(0, -127), (None, None), (126, -127), (3, 50)])
def test_number_without_digits(precision, scale):
    """A NUMBER without digits is always a decimal, whose decimal places follow the values, and are kept."""
    info = column("N", "NUMBER", precision, scale)
    assert load_one(info, "1", "2") == (pa.decimal128(38, 0), [Decimal(1), Decimal(2)])
    found, values = load_one(info, "12345678901234567", "0.125", None)
    assert (found, values) == (pa.decimal128(38, 3), [Decimal("12345678901234567.000"), Decimal("0.125"), None])
    again = load(Connection([info], [("1",)]), last={"N": "decimal128(38, 3)"})
    assert again.schema[0].type == pa.decimal128(38, 3)
    before = load(Connection([info], [("1.5",)]), last={"N": "double"})
    assert before.schema[0].type == pa.decimal128(38, 1)


def test_number_that_does_not_fit():
    """A number that a decimal cannot hold is an error, which names the column, not the value."""
    with pytest.raises(PolyteiaError, match="A value in column 'N' does not fit") as raised:
        load(Connection([column("N", "NUMBER", 0, -127)], [("-1e126",)]))
    assert "126" not in str(raised.value)


@pytest.mark.parametrize(
    ("type_name", "value", "arrow_type", "expected"),
    [
        ("BINARY_FLOAT", 1.5, pa.float32(), 1.5),
        ("BINARY_DOUBLE", 0.1, pa.float64(), 0.1),
        ("BOOLEAN", True, pa.bool_(), True),
        ("VARCHAR", "é", pa.string(), "é"),
        ("NCHAR", "é ", pa.string(), "é "),
        ("ROWID", "AAAR3sAAEAAAACXAAA", pa.string(), "AAAR3sAAEAAAACXAAA"),
        ("LONG", "long", pa.string(), "long"),
        ("CLOB", "large", pa.string(), "large"),
        ("NCLOB", "large", pa.string(), "large"),
        ("RAW", b"\x00\xff", pa.binary(), b"\x00\xff"),
        ("LONG_RAW", b"\x00\xff", pa.binary(), b"\x00\xff"),
        ("BLOB", b"\x00\xff", pa.binary(), b"\x00\xff"),
        ("DATE", dt.datetime(2024, 2, 29, 23, 59, 59), pa.timestamp("us"), dt.datetime(2024, 2, 29, 23, 59, 59)),
        ("TIMESTAMP", dt.datetime(1, 1, 1, 0, 0, 0, 1), pa.timestamp("us"), dt.datetime(1, 1, 1, 0, 0, 0, 1)),
        ("INTERVAL_DS", dt.timedelta(1, 7384, 500_000), pa.string(), "P1DT2H3M4.5S"),
        ("INTERVAL_DS", -dt.timedelta(hours=2), pa.string(), "-PT2H"),
        ("INTERVAL_DS", dt.timedelta(), pa.string(), "PT0S"),
        ("INTERVAL_YM", _IntervalYM(1, 2), pa.string(), "P1Y2M"),
        ("INTERVAL_YM", _IntervalYM(0, -13), pa.string(), "-P1Y1M"),
        ("INTERVAL_YM", _IntervalYM(0, 0), pa.string(), "P0M"),
        ("VECTOR", array.array("d", [1.5, -2.0]), pa.string(), "[1.5, -2.0]"),
        ("VECTOR", array.array("b", [1, -2]), pa.string(), "[1, -2]"),
        (
            "VECTOR",
            SimpleNamespace(num_dimensions=5, indices=array.array("I", [1]), values=array.array("d", [0.5])),
            pa.string(),
            "[5, [1], [0.5]]",
        ),
        ("JSON", '{"a":1.10}', pa.string(), '{"a":1.10}'),
        ("XMLTYPE", "<a/>", pa.string(), "<a/>"),
    ],
)
def test_types(type_name, value, arrow_type, expected):
    """Each type of Oracle has one type of Parquet; a column without values has it too."""
    assert load_one(column("C", type_name), value, None) == (arrow_type, [expected, None])


@pytest.mark.parametrize("type_name", ["TIMESTAMP_TZ", "TIMESTAMP_LTZ"])
def test_timestamp_with_zone(type_name):
    """The server converts a timestamp to UTC, because the driver would drop its zone."""
    summer = dt.datetime(2024, 7, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    found, values = load_one(column("T", type_name), summer, None)
    assert found == pa.timestamp("us", "UTC")
    assert values == [dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC), None]


def test_conversions_in_sql():
    """The query is put in one that converts some columns; its text and its parameters stay as they are."""
    sql = "WITH FUNCTION f RETURN NUMBER IS BEGIN RETURN 1; END; SELECT * FROM t -- all"
    names = {"N": "VARCHAR", "T Z": "TIMESTAMP_TZ", "L": "TIMESTAMP_LTZ", "J": "JSON", "X": "XMLTYPE"}
    connection = Connection([column(*pair) for pair in names.items()])
    load(connection, sql, {"id": 7})
    selected = (
        '"N", SYS_EXTRACT_UTC("T Z") AS "T Z", SYS_EXTRACT_UTC(CAST("L" AS TIMESTAMP(9) WITH TIME ZONE)) AS "L", '
        'JSON_SERIALIZE("J" RETURNING CLOB) AS "J", XMLSERIALIZE(CONTENT "X" AS CLOB) AS "X"'
    )
    assert [entry for entry in connection.log if entry[0] != "close"] == [
        ("execute", "SET TRANSACTION READ ONLY", None),
        ("parse", sql, None),
        ("execute", f"SELECT /*+ WITH_PLSQL */ {selected} FROM (\n{sql}\n)", {"id": 7}),  # noqa: S608 - not executed
    ]


def test_query_as_it_is():
    """A query without such columns is sent as it is, in a read-only transaction; nothing is committed."""
    connection = Connection([column("N", "NUMBER", 5, 0)], [("1",)])
    load(connection, "SELECT n FROM t WHERE id = :1", (7,))
    assert [entry for entry in connection.log if entry[0] == "execute"] == [
        ("execute", "SET TRANSACTION READ ONLY", None),
        ("execute", "SELECT n FROM t WHERE id = :1", (7,)),
    ]
    assert (connection.autocommit, connection.is_closed) == (False, True)


def test_handlers(oracledb):
    """Numbers are fetched exactly, and large values with their rows, of which fewer are fetched at once."""
    infos = [
        column("I", "NUMBER", 9, 0),
        column("D", "NUMBER", 9, 2),
        column("N", "NUMBER", 0, -127),
        column("V", "VARCHAR", size=10),
        column("J", "VARCHAR", size=10, is_json=True),
    ]
    connection = Connection(infos)
    load(connection)
    wanted = {name: variable and variable.wanted for name, variable in connection.variables.items()}
    assert wanted == {"I": Decimal, "D": Decimal, "N": Decimal, "V": None, "J": oracledb.DB_TYPE_VARCHAR}
    assert connection.variables["J"].size == 10
    assert {variable.arraysize for variable in connection.variables.values() if variable} == {1000}
    assert connection.fetched_with == (1000, 1000)
    connection = Connection([column("C", "CLOB"), column("N", "NCLOB"), column("B", "BLOB")])
    load(connection)
    assert [variable.wanted for variable in connection.variables.values()] == [
        oracledb.DB_TYPE_LONG,
        oracledb.DB_TYPE_LONG_NVARCHAR,
        oracledb.DB_TYPE_LONG_RAW,
    ]
    assert connection.fetched_with == (100, 100)


def test_json_in_other_types():
    """A column with the constraint IS JSON is text as it is stored; Oracle's binary JSON is decoded exactly."""
    text = '{"a": 1.10}'
    assert load_one(column("J", "VARCHAR", is_json=True), text) == (pa.string(), [text])
    assert load_one(column("J", "CLOB", is_json=True), text) == (pa.string(), [text])
    assert load_one(column("J", "BLOB", is_json=True), text.encode("utf-16")) == (pa.string(), [text])
    nested = b'{"a": [1.10, null, "\\u00e9", true]}'
    found = load_one(column("J", "BLOB", is_json=True, is_oson=True), nested)
    assert found == (pa.string(), ['{"a": [1.10, null, "é", true]}'])


@pytest.mark.parametrize(
    ("type_name", "attributes", "expected"),
    [
        (
            "OBJECT",
            {"type": SimpleNamespace(name="SDO_GEOMETRY")},
            r"SDO_GEOMETRY.* SDO_UTIL\.TO_WKTGEOMETRY\(column\)",
        ),
        ("OBJECT", {"type": SimpleNamespace(name="ADDRESS")}, r"ADDRESS.* XMLTYPE\(column\)"),
        ("BFILE", {}, r"BFILE.* TO_BLOB\(column\)"),
        ("CURSOR", {}, r"CURSOR.* JSON_ARRAYAGG"),
    ],
)
def test_unsupported_types(type_name, attributes, expected):
    """A type that cannot be loaded is an error before the query runs; it names the column and a function."""
    connection = Connection([column("SHAPE", type_name, **attributes)])
    with pytest.raises(PolyteiaConfigurationError, match=f"Column 'SHAPE' has the type {expected}"):
        load(connection)
    assert [sql for action, sql, _ in connection.log if action == "execute"] == ["SET TRANSACTION READ ONLY"]


def test_names():
    """Names are checked before the query runs, also those that the query around it could not refer to."""
    with pytest.raises(PolyteiaConfigurationError, match="two columns named 'A'"):
        load(Connection([column("A", "DATE"), column("A", "DATE")]))
    with pytest.raises(PolyteiaConfigurationError, match="name it with AS"):
        load(Connection([column('"a"+1', "NUMBER", 0, -127), column("T", "TIMESTAMP_TZ")]))


def test_declared_type():
    """A declared type replaces the type of the column."""
    infos = [column("N", "NUMBER", 0, -127), column("T", "TIMESTAMP_TZ")]
    rows = [("1.5", dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC))]
    declared = {"N": pa.decimal128(5, 2), "T": pa.timestamp("us")}
    table = load(Connection(infos, rows), declared=declared)
    assert table.to_pylist() == [{"N": Decimal("1.50"), "T": dt.datetime(2024, 7, 1, 12)}]


def test_many_rows():
    """All rows are read."""
    rows = [(str(number), f"text {number}") for number in range(2500)]
    table = load(Connection([column("N", "NUMBER", 9, 0), column("C", "CLOB")], rows))
    assert table.to_pydict() == {"N": list(range(2500)), "C": [text for _, text in rows]}


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (
            "ORA-00904",
            'ORA-00904: "STREET": invalid identifier\nHelp: https://...',
            'ORA-00904: "STREET": invalid identifier',
        ),
        ("ORA-00904", 'ORA-00904: "Jan Jansen": invalid identifier', "ORA-00904: '...': invalid identifier"),
        (
            "ORA-01722",
            "ORA-01722: unable to convert string value containing 'Jan Jansen' to a number",
            "Error ORA-01722",
        ),
        ("DPY-4011", "DPY-4011: the database or network closed the connection", "DPY-4011: the database or network"),
    ],
)
def test_errors_without_values(oracledb, code, message, expected):
    """The text of an error has no value of a row or of a parameter."""
    error = oracledb.DatabaseError(SimpleNamespace(full_code=code, message=message))
    with pytest.raises(ReadError) as raised:
        load(Connection([column("N", "DATE")], error=error), "SELECT STREET FROM t")
    assert expected in str(raised.value)
    assert "Jansen" not in str(raised.value)


def test_cancel():
    """A query is cancelled with the connection's own method."""
    connection = Connection([column("N", "DATE")])
    driver_of(connection, lambda: connection).cancel()
    assert connection.log == [("cancel", None, None)]


def test_types_of_the_package():
    """Each type of oracledb is known, either as one that can be loaded or as one with a function."""
    package = sys.modules["oracledb"]
    if not hasattr(package, "__version__"):
        pytest.skip("oracledb is not installed")
    names = {getattr(package, name).name for name in dir(package) if name.startswith("DB_TYPE_")}
    known = {*oracle._TYPES, "DB_TYPE_NUMBER", *oracle._FUNCTIONS} - {"SDO_GEOMETRY"}
    assert names - known <= {"DB_TYPE_BINARY_INTEGER", "DB_TYPE_UNKNOWN"}
    assert set(oracle._TYPES) <= names
    assert package.IntervalYM._fields == _IntervalYM._fields
    assert all(hasattr(package.Connection, name) for name in ("cancel", "decode_oson", "autocommit"))
    assert all(hasattr(package.Cursor, name) for name in ("parse", "outputtypehandler", "prefetchrows", "var"))
