"""Where the server is: every way to say it, turned into one frozen ``Address``.

Decides which server, socket, sentinels or nodes, which credentials, TLS settings and time limits a connection
uses. It does no I/O (an embedded server is started, and a primary is asked for, at connect time, not here), never
imports redis-py (its objects are recognised by the module they come from) and never shows a password: not in a
repr, not in a message.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from chasquimq._dataclass import field_names
from chasquimq.address.clients import client_settings
from chasquimq.address.settings import address_of
from chasquimq.address.urls import FORMS, url_settings
from chasquimq.address.values import Address, ConnectionOptions, Node, Sentinels, Tls, node_text
from chasquimq.errors import InvalidOptionTypeError

__all__ = ["Address", "ConnectionOptions", "Node", "Sentinels", "Tls", "node_text", "resolve_address"]

ENVIRONMENT_VARIABLE = "CHASQUIMQ_REDIS_URL"
DEFAULT_URL = "redis://127.0.0.1:6379/0"


def resolve_address(connection: object = None) -> Address:
    """The ``Address`` for anything that the ``connection`` option accepts.

    Raises ``InvalidOptionError``, ``InvalidOptionTypeError`` or, for what a client of redis-py does and this
    library does not, ``NotSupportedError``.
    """
    if connection is None:
        return address_of(url_settings(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_URL))
    if isinstance(connection, Address):
        return connection
    if isinstance(connection, str):
        return address_of(url_settings(connection))
    if isinstance(connection, ConnectionOptions):
        unset = ConnectionOptions()
        given = {name: getattr(connection, name) for name in field_names(ConnectionOptions)}
        return address_of({name: value for name, value in given.items() if value != getattr(unset, name)})
    if isinstance(connection, Mapping):
        return address_of({key: value for key, value in connection.items() if isinstance(key, str)})
    settings = client_settings(connection)
    if settings is not None:
        return address_of(settings)
    raise InvalidOptionTypeError(
        f"connection is a {type(connection).__name__}, which is no address of a Redis server. {FORMS}"
    )
