"""SQL Server and Azure SQL, through pymssql.

pymssql reports five kinds of types only. So the server is asked before the query runs (`sp_describe_first_result_set`):

=====================================  ================================================================
SQL Server                             Parquet
=====================================  ================================================================
tinyint, smallint                      integer of 16 bits
int, bigint                            integers of 32 and 64 bits
bit                                    boolean
decimal(p, s), numeric(p, s)           decimal(p, s)
money, smallmoney                      decimal(19, 4), decimal(10, 4)
real, float                            floating-point numbers of 32 and 64 bits
date, time                             date, time
datetime, datetime2, smalldatetime     timestamp; a seventh digit of a second is cut off, as it is of time
datetimeoffset                         timestamp in UTC
binary, varbinary, image, rowversion   binary
char, nvarchar, text, xml, json ...    text
uniqueidentifier, sql_variant          text
geography, geometry, hierarchyid       an exception, which names the column and the method to convert it with
=====================================  ================================================================

The server cannot describe some statements, such as those with a temporary table. Then the kinds that pymssql reports
decide: text and timestamp, and for all others the values.
"""

from __future__ import annotations

import datetime as dt
import importlib
import logging
import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.tables.columns import DeclaredColumn, InferredColumn
from airflow_provider_polyteia.tables.error_texts import without_values
from airflow_provider_polyteia.tables.readers.base import ReadError
from airflow_provider_polyteia.tables.readers.drivers.base import Driver, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Query

    Description = Sequence[Mapping[str, Any]]

log = logging.getLogger(__name__)

_DESCRIBE = "EXEC sp_describe_first_result_set @tsql = %s"

_DECIMALS = ("decimal", "numeric")
_OFFSET = "datetimeoffset"
_TYPES = {
    "tinyint": pa.int16(),  # 0 to 255
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "bit": pa.bool_(),
    "money": pa.decimal128(19, 4),
    "smallmoney": pa.decimal128(10, 4),
    "real": pa.float32(),
    "float": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "datetime": pa.timestamp("us"),
    "datetime2": pa.timestamp("us"),
    "smalldatetime": pa.timestamp("us"),
    _OFFSET: pa.timestamp("us", "UTC"),
    "binary": pa.binary(),
    "varbinary": pa.binary(),
    "image": pa.binary(),
    "timestamp": pa.binary(),  # another name of rowversion
    "rowversion": pa.binary(),
    "char": pa.string(),
    "varchar": pa.string(),
    "text": pa.string(),
    "nchar": pa.string(),
    "nvarchar": pa.string(),
    "ntext": pa.string(),
    "sysname": pa.string(),
    "xml": pa.string(),
    "json": pa.string(),
    "vector": pa.string(),
    "uniqueidentifier": pa.string(),
    "sql_variant": pa.string(),
}
_METHODS = {"geography": "column.STAsText()", "geometry": "column.STAsText()"}
_OTHER_METHOD = "column.ToString()"  # of all types of .NET

# pymssql's kinds of types whose values have one type of Parquet; a date and a time are of its kind for bytes.
_BY_KIND = {1: pa.string(), 4: pa.timestamp("us")}

# What older versions of pymssql return of a datetimeoffset, in the structure of FreeTDS and in that of the protocol:
# the time in UTC, its day, and the offset, which does not matter.
_FREETDS = struct.Struct("<QihH")
_FREETDS_EPOCH = dt.datetime(1900, 1, 1, tzinfo=dt.UTC)
_FREETDS_TICKS = 10  # in a microsecond
_PROTOCOL_EPOCH = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_DAY_BYTES, _OFFSET_BYTES = 3, 2

# Errors whose texts have names only: syntax and names, rights, deadlock, lock timeout, division by zero, and those of
# the client library, such as a lost connection. Any other text may quote a value of a row.
_NAMES = (102, 105, 156, 170, 207, 208, 209, 319, 2812, 4104, 4121, 8120, 8127, 8155, 8156)
_RIGHTS = (229, 230, 262, 911, 916)
_OTHERS = (1033, 1205, 1222, 8134)
_SAFE_NUMBERS = frozenset([*_NAMES, *_RIGHTS, *_OTHERS, *range(20000, 20100)])
_LIBRARY_MESSAGE = "DB-Lib error message"


class PymssqlDriver(Driver):
    """A connection of pymssql. SQL Server has no read-only transactions; nothing is committed."""

    def __init__(self, connection: Any, open_connection: Callable[[], Any]) -> None:
        super().__init__(connection, open_connection)
        self._described: Description = ()

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its rows, which are streamed."""
        errors = (importlib.import_module("pymssql").Error, ValueError)  # the driver's values may not fit Python's
        try:
            yield from super().read(query)
        except errors as error:
            raise _without_values(error, query.sql) from None

    def prepare(self, query: Query) -> None:
        """Begin a transaction, and ask for the types of the query."""
        self.connection.autocommit(False)  # noqa: FBT003 - positional in pymssql
        self._described = self._describe(query)

    def open_cursor(self) -> Any:
        """Return a cursor whose rows are tuples, even if the connection is set to dictionaries."""
        return self.connection.cursor(as_dict=False)

    def columns(self, cursor: Any, query: Query) -> list[Column]:
        """Return the columns with the types that the server has reported, or with those of pymssql's kinds.

        :raises PolyteiaConfigurationError: if a column has no name, or a type that cannot be loaded.
        """
        names = names_of(cursor)
        if "" in names:
            number = names.index("") + 1
            raise PolyteiaConfigurationError(f"Column {number} of the query has no name; name it with AS.")
        if [column["name"] for column in self._described] == names:
            return [_described_column(column) for column in self._described]
        kinds = [_BY_KIND.get(column[1]) for column in cursor.description]
        return [_column_of_kind(*pair, query.last.get(pair[0], "")) for pair in zip(names, kinds, strict=True)]

    def _describe(self, query: Query) -> Description:
        """Return what the server says about the columns of a query; nothing if it cannot describe it."""
        with closing(self.connection.cursor(as_dict=True)) as cursor:
            try:
                cursor.execute(_DESCRIBE, (_with_literals(query),))
                return [column for column in cursor.fetchall() if not column["is_hidden"]]
            except importlib.import_module("pymssql").Error as error:
                log.info("The types of the columns are not known before the query runs (error %s)", _number_of(error))
                return ()


def _with_literals(query: Query) -> str:
    """Return the SQL with its parameters as literals, as pymssql sends it.

    :raises PolyteiaConfigurationError: if they do not fit its placeholders.
    """
    if query.parameters is None:
        return query.sql
    substitute = importlib.import_module("pymssql._mssql").substitute_params
    try:
        sql: bytes = substitute(query.sql, query.parameters)
    except ValueError as error:  # its text has names and types, no values
        raise PolyteiaConfigurationError(f"The parameters do not fit the SQL: {error}.") from None
    return sql.decode()


def _described_column(column: Mapping[str, Any]) -> Column:
    name = column["name"]
    # The name of a type of .NET is that of a user's type.
    type_name = (column["system_type_name"] or column["user_type_name"] or "unknown").partition("(")[0]
    if type_name in _DECIMALS:
        return DeclaredColumn(name, pa.decimal128(column["precision"], column["scale"]))
    if type_name not in _TYPES:
        raise PolyteiaConfigurationError(
            f"Column {name!r} has the type {type_name}, which cannot be loaded. Convert it in the SQL with "
            f"{_METHODS.get(type_name, _OTHER_METHOD)}."
        )
    if type_name == _OFFSET:
        return DeclaredColumn(name, _TYPES[_OFFSET], lambda value: _to_utc(value, column["scale"]))
    return DeclaredColumn(name, _TYPES[type_name], _CONVERTERS.get(type_name))


def _column_of_kind(name: str, wanted: pa.DataType | None, last: str) -> Column:
    if wanted is None:
        return InferredColumn(name, last, _id_to_text)
    return DeclaredColumn(name, wanted)


def _to_utc(value: Any, scale: int) -> dt.datetime:
    """Return a datetimeoffset: a text comes with old versions of the protocol, bytes from old versions of pymssql.

    :param scale: digits after the point of a second.
    """
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value.replace(" +", "+").replace(" -", "-"))
    if not isinstance(value, bytes):
        aware: dt.datetime = value
        return aware
    if len(value) == _FREETDS.size:
        ticks, days, *_ = _FREETDS.unpack(value)
        return _FREETDS_EPOCH + dt.timedelta(days, microseconds=ticks // _FREETDS_TICKS)
    time, day = value[: -_DAY_BYTES - _OFFSET_BYTES], value[-_DAY_BYTES - _OFFSET_BYTES : -_OFFSET_BYTES]
    microseconds = int.from_bytes(time, "little") * 1_000_000 // 10**scale
    return _PROTOCOL_EPOCH + dt.timedelta(int.from_bytes(day, "little"), microseconds=microseconds)


def _from_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return a converter for values that are texts with old versions of the protocol, which may have seven digits."""
    return lambda value: parse(value) if isinstance(value, str) else value


def _id_to_text(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def _variant_to_text(value: Any) -> Any:
    return f"0x{value.hex()}" if isinstance(value, bytes) else _id_to_text(value)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "date": _from_text(dt.date.fromisoformat),
    "time": _from_text(dt.time.fromisoformat),
    "datetime2": _from_text(dt.datetime.fromisoformat),
    "sql_variant": _variant_to_text,
    "uniqueidentifier": _id_to_text,
}


def _number_of(error: Exception) -> int:
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def _without_values(error: Exception, sql: str) -> ReadError:
    """Return the exception for an error of the driver; its text has no value of a row or of a parameter."""
    number = _number_of(error)
    if number in _SAFE_NUMBERS:
        message = error.args[1]
        text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
        return ReadError(f"error {number}: {without_values(text.partition(_LIBRARY_MESSAGE)[0].strip(), sql)}")
    return ReadError(f"{type(error).__name__} {number or ''}".strip())
