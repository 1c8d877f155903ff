"""Clients of redis-py (and of its relative valkey-py) as settings by name.

They are recognised by the module that their class comes from and by the attributes that hold their settings; redis-py
itself is not imported. What a client can do and this library cannot is refused, not dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chasquimq.errors import InvalidOptionError, NotSupportedError

__all__ = ["client_settings"]


def client_settings(client: object) -> dict[str, Any] | None:
    """The settings of a client, None for anything else. Raises ``NotSupportedError`` and ``InvalidOptionError``."""
    if not _comes_from_redis(client):
        return None
    nodes = getattr(client, "nodes_manager", None)
    if nodes is not None:
        return _cluster_settings(nodes)
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        return _pool_settings(pool)
    if hasattr(client, "master_for"):
        raise InvalidOptionError(
            "connection is a Sentinel object, which may watch several servers. "
            "Give the client of one of them: sentinel.master_for('mymaster')."
        )
    return None


def _comes_from_redis(client: object) -> bool:
    """Subclasses and instrumented clients count too, hence the whole family tree."""
    return any(base.__module__.split(".")[0] in ("redis", "valkey") for base in type(client).__mro__)


def _pool_settings(pool: Any) -> dict[str, Any]:
    settings = _plain(getattr(pool, "connection_kwargs", {}), getattr(pool, "connection_class", object))
    sentinel = getattr(pool, "sentinel_manager", None)
    if sentinel is None:
        return settings
    if not pool.is_master:
        raise InvalidOptionError(
            "connection is a client of Sentinel that reads from replicas, and a queue is written to. "
            "Give the client of the primary: sentinel.master_for(...)."
        )
    pools = [each.connection_pool for each in sentinel.sentinels]
    own = _plain(pools[0].connection_kwargs, pools[0].connection_class) if pools else {}
    return {
        **settings,
        "sentinels": [(each.connection_kwargs["host"], each.connection_kwargs["port"]) for each in pools],
        "service_name": pool.service_name,
        "sentinel_username": own.get("username"),
        "sentinel_password": own.get("password"),
        "sentinel_ssl": own.get("ssl"),
    }


def _cluster_settings(nodes: Any) -> dict[str, Any]:
    given = nodes.connection_kwargs
    settings = _plain(given, given.get("connection_class", object))
    settings["ssl"] = settings["ssl"] or bool(given.get("ssl"))
    return {**settings, "startup_nodes": [(node.host, node.port) for node in nodes.startup_nodes.values()]}


def _plain(kwargs: Mapping[str, Any], connection_class: Any) -> dict[str, Any]:
    """The settings of one connection."""
    settings = dict(kwargs)
    family = {base.__name__ for base in getattr(connection_class, "__mro__", ())}
    if settings.get("ssl_validate_ocsp") or settings.get("ssl_validate_ocsp_stapled"):
        raise NotSupportedError(
            "connection is a client that checks certificates with OCSP, which is not supported here. "
            "Give an address without OCSP (ConnectionOptions)."
        )
    settings["ssl"] = "SSLConnection" in family
    if "UnixDomainSocketConnection" not in family:
        settings.pop("path", None)
    return settings
