"""MySQL and MariaDB, through ODBC: pyodbc is asked for what the server sends, as the other drivers of MySQL are.

pyodbc rejects dates with zeros, and times that are negative or above 24 hours; it cuts off fractions of a second, and
texts at a zero byte. A converter receives all values as text, so that the values and types are those of `mysql`, with
these exceptions:

* BIT(n) with n > 1 is binary before pyodbc 5.4, which does not tell it from BINARY(n): use ``CAST(b AS UNSIGNED)``.
* Integers before pyodbc 5.4 have larger types, and BIGINT UNSIGNED must fit a signed one: see `odbc`.
* A column of NULL only, such as ``SELECT NULL``, is text.
* MariaDB's ODBC driver before 3.2 holds all rows in memory, about 150 bytes for a short row. Since 3.2, the option
  ``NO_CACHE=1`` in the extra of the connection prevents it.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.tables.readers.drivers import odbc_types as odbc
from airflow_provider_polyteia.tables.readers.drivers.base import names_of
from airflow_provider_polyteia.tables.readers.drivers.mysql import BIT, READ_ONLY, MySQLType, to_column
from airflow_provider_polyteia.tables.readers.drivers.odbc import OdbcDriver

if TYPE_CHECKING:
    from airflow_provider_polyteia.tables.columns import Column
    from airflow_provider_polyteia.tables.readers.base import Query
    from airflow_provider_polyteia.tables.readers.drivers.odbc_types import OdbcType

# Numbers of types in MySQL's protocol.
_YEAR, _TEXT, _BLOB = 13, 253, 252
# ODBC's number of a type -> that of the protocol.
_CODES = {
    odbc.TINYINT: 1,
    odbc.SMALLINT: 2,
    odbc.INTEGER: 3,
    odbc.BIGINT: 8,
    odbc.NUMERIC: 246,
    odbc.DECIMAL: 246,
    odbc.REAL: 4,
    odbc.FLOAT: 5,
    odbc.DOUBLE: 5,
    odbc.DATE: 10,
    odbc.TIME: 11,
    odbc.TIMESTAMP: 12,
    odbc.BIT: BIT,
    **dict.fromkeys(odbc.TEXTS, _TEXT),
    **dict.fromkeys(odbc.BINARIES, _BLOB),
}


class OdbcMySQLDriver(OdbcDriver):
    """A connection of pyodbc to MySQL or MariaDB."""

    def prepare(self, query: Query) -> None:  # noqa: ARG002 - as for the other databases
        """Make the session read-only."""
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(READ_ONLY)

    def columns(self, cursor: Any, query: Query) -> list[Column]:
        """Return the columns with the types that the ODBC driver reports, and let pyodbc return what the server sends.

        Not before: the description of a column with a converter does not show its type.
        """
        found = odbc.types_of(cursor)
        for code in _CODES:
            self.connection.add_output_converter(code, bytes)
        return [
            to_column(name, to_mysql(column), query.last.get(name, ""))
            for name, column in zip(names_of(cursor), found, strict=True)
        ]


def to_mysql(found: OdbcType) -> MySQLType:
    """Return the type as MySQL's protocol describes it."""
    if found.code == odbc.BIT or (found.name == "bit" and found.code in odbc.BINARIES):
        return MySQLType(BIT, size=found.size)
    if found.name == "year":
        return MySQLType(_YEAR)
    is_null = found.code == odbc.BINARY and found.size == 0
    return MySQLType(
        _CODES.get(found.code, _TEXT),
        is_unsigned=found.is_unsigned,
        is_binary=found.code in odbc.BINARIES and not is_null,
        size=found.size,
        places=found.places if found.code in odbc.DECIMALS else 0,
    )
