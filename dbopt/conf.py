"""The one setting DBOPT: sections of frozen dataclasses, parsed once, reloaded in place.

Seconds everywhere, except names that end in ``_MS``. An empty DBOPT is valid.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from threading import RLock
from typing import Any, Union, get_args, get_origin, get_type_hints

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from dbopt.exceptions import ConfigurationError


def _at_least(minimum: float, default: Any) -> Any:
    return field(default=default, metadata={"minimum": minimum})


def _secret(default: Any) -> Any:
    return field(default=default, repr=False)


def _one_of(*choices: str) -> Any:
    return field(default=choices[0], metadata={"choices": choices})


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """``DBOPT["CACHE"]``."""

    alias: str = "default"
    prefix: str = "dbopt"
    cluster: bool = False
    timeout: float = _at_least(0.001, 300.0)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    level: str = _one_of("commit", "strict", "ttl")
    strict: tuple[str, ...] = ()
    function_writes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replica_lag: float = _at_least(0, 2.0)
    replica_consistency: str = _one_of("holdoff", "lsn")
    local: bool = False
    local_bytes: int = _at_least(0, 16 * 1024 * 1024)
    connect_timeout: float = _at_least(0.001, 0.1)
    socket_timeout: float = _at_least(0.001, 0.2)
    max_value_bytes: int = _at_least(1, 512 * 1024)
    compress_above: int = _at_least(0, 1024)
    breaker_failures: int = _at_least(1, 5)
    breaker_seconds: float = _at_least(0, 2.0)
    max_debt: int = _at_least(1, 10_000)
    session_renew_after: float = _at_least(0, 0.1)
    session_write_behind: float | None = _at_least(0.001, None)


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """``DBOPT["POSTGRES"]``."""

    leak_threshold: float = _at_least(0, 10.0)
    replica_ttl: float = _at_least(0, 60.0)


@dataclass(frozen=True, slots=True)
class Neo4jSettings:
    """One alias of ``DBOPT["NEO4J"]``."""

    uri: str = ""
    user: str = "neo4j"
    password: str = _secret("")
    database: str = "neo4j"
    max_connection_pool_size: int = _at_least(1, 50)
    connection_timeout: float = _at_least(0.001, 5.0)
    acquisition_timeout: float = _at_least(0.001, 10.0)
    retry_time: float = _at_least(0, 5.0)
    max_connection_lifetime: float = _at_least(1, 900.0)
    liveness_check_timeout: float = _at_least(0, 30.0)
    write_timeout: float = _at_least(0.001, 10.0)
    fetch_size: int = _at_least(1, 1000)
    query_timeout: float = _at_least(0.001, 30.0)
    slow_query_ms: float = _at_least(0, 100.0)


@dataclass(frozen=True, slots=True)
class GraphQLSettings:
    """``DBOPT["GRAPHQL"]``."""

    default_page_size: int = _at_least(1, 100)
    max_page_size: int = _at_least(1, 1000)
    require_pagination: bool = False
    max_list_size: int | None = _at_least(0, None)
    list_sizes: Mapping[str, int] = field(default_factory=dict)
    check_exceptions: Mapping[str, str] = field(default_factory=dict)
    max_body_bytes: int | None = _at_least(1, 1_000_000)
    max_batch: int | None = _at_least(1, 10)
    max_characters: int | None = _at_least(1, 20_000)
    max_tokens: int | None = _at_least(1, 2000)
    max_definitions: int | None = _at_least(1, 100)
    max_depth: int | None = _at_least(1, 12)
    max_root_fields: int | None = _at_least(1, 20)
    max_fields: int | None = _at_least(1, 1000)
    max_aliases: int | None = _at_least(0, 30)
    max_directives: int | None = _at_least(0, 50)
    max_merges: int | None = _at_least(0, 1000)
    max_values: int | None = _at_least(0, 10_000)
    max_cost: int | None = _at_least(1, 100_000)
    costs: Mapping[str, float] = field(default_factory=dict)
    time_limit: float | None = _at_least(0.001, 30.0)
    introspection: bool = True
    suggestions: bool | None = None
    document_cache_characters: int = _at_least(0, 500_000)
    orjson: bool = True
    response_cache: bool = True
    persisted: str = _one_of("off", "automatic", "listed")
    persisted_file: str | None = None
    persisted_quota: int = _at_least(0, 100)
    statistics: bool = True

    @property
    def shows_suggestions(self) -> bool:
        """Whether an error may say which names of the schema are near: by default only under DEBUG."""
        return django_settings.DEBUG if self.suggestions is None else self.suggestions


@dataclass(frozen=True, slots=True)
class TenancySettings:
    """``DBOPT["TENANCY"]``."""

    resolver: str | None = None
    required: bool = False
    tenants: str | None = None
    session_variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """``DBOPT["MONITORING"]``."""

    slow_query_ms: float = _at_least(0, 100.0)
    origin: str = _one_of("auto", "always", "off")
    origin_sample: float = _at_least(0, 0.1)
    max_fingerprints: int = _at_least(1, 300)
    max_slow_events: int = _at_least(1, 1000)
    track_aliases: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """``DBOPT["HEALTH"]``."""

    prefix: str = "/health/"
    tokens: tuple[str, ...] = _secret(())
    networks: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    ready_requires: tuple[str, ...] = ("database",)
    check_timeout: float = _at_least(0.001, 0.8)
    check_ttl: float = _at_least(0, 2.0)


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """``DBOPT["METRICS"]``."""

    path: str = "/metrics"
    tokens: tuple[str, ...] = _secret(())
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """``DBOPT["DASHBOARD"]``."""

    permission: str = "dbopt.view_monitor"


_SECTIONS: dict[str, type[Any]] = {
    "cache": CacheSettings,
    "postgres": PostgresSettings,
    "graphql": GraphQLSettings,
    "tenancy": TenancySettings,
    "monitoring": MonitoringSettings,
    "health": HealthSettings,
    "metrics": MetricsSettings,
    "dashboard": DashboardSettings,
}


class DboptSettings:
    """All sections, parsed at first use.

    The object stays the same when settings change: a module that imported it sees the new values.
    Thread-safe.
    """

    cache: CacheSettings
    postgres: PostgresSettings
    neo4j: Mapping[str, Neo4jSettings]
    graphql: GraphQLSettings
    tenancy: TenancySettings
    monitoring: MonitoringSettings
    health: HealthSettings
    metrics: MetricsSettings
    dashboard: DashboardSettings

    def __init__(self) -> None:
        self._lock = RLock()

    def __getattr__(self, name: str) -> Any:
        if name not in _SECTIONS and name != "neo4j":
            raise AttributeError(name)
        self.load()
        return self.__dict__[name]

    def __repr__(self) -> str:
        return f"<DboptSettings {sorted(set(self.__dict__) - {'_lock'})}>"

    def load(self) -> None:
        """Parse the setting now.

        Raises:
            ConfigurationError: it cannot be read.
        """
        with self._lock:
            self.__dict__.update(parse(getattr(django_settings, "DBOPT", {})))

    def reload(self) -> None:
        """Forget what was parsed; the next use parses again."""
        with self._lock:
            for name in (*_SECTIONS, "neo4j"):
                self.__dict__.pop(name, None)


def parse(value: object) -> dict[str, Any]:
    """Turn the DBOPT dictionary into one frozen dataclass a section.

    Raises:
        ConfigurationError: an unknown key, a value of the wrong type or out of range.
    """
    tree = _mapping("DBOPT", value)
    known = [name.upper() for name in (*_SECTIONS, "neo4j")]
    for key in tree:
        if key not in known:
            raise _unknown("DBOPT", key, known)
    sections: dict[str, Any] = {
        name: _parse_section(f'DBOPT["{name.upper()}"]', cls, tree.get(name.upper(), {}))
        for name, cls in _SECTIONS.items()
    }
    aliases = _mapping('DBOPT["NEO4J"]', tree.get("NEO4J", {}))
    neo4j = {}
    for alias, options in aliases.items():
        where = f'DBOPT["NEO4J"]["{alias}"]'
        neo4j[alias] = _parse_section(where, Neo4jSettings, options)
        if not neo4j[alias].uri:
            raise ConfigurationError(f'{where} has no "URI". Give it one, for example "bolt://localhost:7687".')
    sections["neo4j"] = types.MappingProxyType(neo4j)
    _check_together(sections)
    return sections


def _check_together(sections: Mapping[str, Any]) -> None:
    graphql = sections["graphql"]
    if graphql.default_page_size > graphql.max_page_size:
        raise ConfigurationError(
            f'DBOPT["GRAPHQL"]["DEFAULT_PAGE_SIZE"] is {graphql.default_page_size}, '
            f"which is more than MAX_PAGE_SIZE ({graphql.max_page_size})."
        )
    _check_coordinates(graphql)
    if graphql.persisted == "listed" and graphql.persisted_file is None:
        raise ConfigurationError(
            'DBOPT["GRAPHQL"]["PERSISTED"] is "listed", but no PERSISTED_FILE lists documents: all would be refused.'
        )
    if sections["cache"].session_renew_after > 1:
        raise ConfigurationError(
            f'DBOPT["CACHE"]["SESSION_RENEW_AFTER"] is {sections["cache"].session_renew_after:g}; '
            "it is a share of a session's age, so it must be at most 1."
        )
    for section, key in (("health", "networks"), ("health", "trusted_proxies"), ("metrics", "networks")):
        for network in getattr(sections[section], key):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ConfigurationError(f'DBOPT["{section.upper()}"]["{key.upper()}"]: {error}.') from error


def _check_coordinates(graphql: GraphQLSettings) -> None:
    for coordinate, size in graphql.list_sizes.items():
        if size < 0:
            raise ConfigurationError(
                f'DBOPT["GRAPHQL"]["LIST_SIZES"]["{coordinate}"] is {size}; it must be at least 0.'
            )
    for coordinate, reason in graphql.check_exceptions.items():
        if not reason.strip():
            raise ConfigurationError(
                f'DBOPT["GRAPHQL"]["CHECK_EXCEPTIONS"]["{coordinate}"] gives no reason. '
                "Say why its findings do not matter: whoever reads it next will ask."
            )


def _mapping(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where} must be a dictionary, not {type(value).__name__}.")
    return value


def _unknown(where: str, key: object, known: list[str]) -> ConfigurationError:
    near = difflib.get_close_matches(str(key).upper(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(sorted(known))}."
    return ConfigurationError(f"{where} has no key {key!r}. {hint}")


def _parse_section(where: str, cls: type[Any], value: object) -> Any:
    options = _mapping(where, value)
    known = {item.name.upper(): item for item in fields(cls)}
    hints = get_type_hints(cls)
    parsed = {}
    for key, given in options.items():
        if key not in known:
            raise _unknown(where, key, list(known))
        item = known[key]
        # A value of a secret is never shown, not even a wrong one.
        shown = repr(given) if item.repr and not re.search(r"://.*@", str(given)) else "this value"
        converted = _convert(f'{where}["{key}"]', hints[item.name], given, shown)
        _check_range(f'{where}["{key}"]', item.metadata, converted, shown)
        parsed[item.name] = converted
    return cls(**parsed)


def _check_range(where: str, metadata: Mapping[str, Any], value: Any, shown: str) -> None:
    minimum = metadata.get("minimum")
    # "not >=" instead of "<": NaN is refused too.
    if minimum is not None and value is not None and not value >= minimum:
        raise ConfigurationError(f"{where} is {shown}; it must be at least {minimum:g}.")
    choices = metadata.get("choices")
    if choices is not None and value not in choices:
        raise ConfigurationError(f"{where} is {shown}; it must be one of {', '.join(map(repr, choices))}.")


def _convert(where: str, hint: Any, value: Any, shown: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
        origin = get_origin(hint)
    if origin is tuple:
        if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(part, str) for part in value):
            return tuple(value)
        raise ConfigurationError(f"{where} must be a list of strings, not {shown}.")
    if origin is Mapping:
        _, inner = get_args(hint)
        items = _mapping(where, value).items()
        return types.MappingProxyType(
            {str(key): _convert(f'{where}["{key}"]', inner, part, repr(part)) for key, part in items}
        )
    if hint is float:
        return _number(where, value, shown)
    if type(value) is not hint:
        raise ConfigurationError(f"{where} must be {_A[hint]}, not {shown}.")
    return value


_A = {int: "a whole number", bool: "True or False", str: "a string"}


def _number(where: str, value: Any, shown: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{where} must be a number, not {shown}.")
    return float(value)


def defaults() -> dict[str, dict[str, Any]]:
    """All keys with their defaults, by section, as a user would write them; for the documentation."""
    sections = {**_SECTIONS, "neo4j": Neo4jSettings}
    return {
        name.upper(): {item.name.upper(): item.default if item.default is not MISSING else {} for item in fields(cls)}
        for name, cls in sections.items()
    }


dbopt_settings = DboptSettings()


def _reload(*, setting: str, **_: Any) -> None:
    if setting == "DBOPT":
        dbopt_settings.reload()


setting_changed.connect(_reload, dispatch_uid="dbopt.conf")
