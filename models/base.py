"""What all tables share: one metadata, names for constraints, and the types that differ from Python's."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import BigInteger, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import UserDefinedType

MAIL = "mail"
"""The schema people query."""

SYNC = "sync"
"""The schema of the machinery."""

NOW = "sync.now()"
"""Every time that is written comes from this function: the server's clock, which tests can shift."""

XACT = "pg_current_xact_id()"
"""Default of `changed_in`; every UPDATE that changes what people see sets it again."""


class XID8(UserDefinedType[int]):
    """A transaction id that never wraps: a row's place in the change feed."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Name the type."""
        return "xid8"


# Without this, comparing metadata with a database warns of an unknown type.
ischema_names["xid8"] = XID8

BigInt = Annotated[int, "bigint"]
Xid8 = Annotated[int, "xid8"]


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # read once by the class machinery, which declares it so
        BigInt: BigInteger(),
        Xid8: XID8(),
        str: Text(),
        bytes: LargeBinary(),
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB(),
        list[str]: ARRAY(Text()),
    }
