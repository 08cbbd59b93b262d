"""The second level of loaders: what they loaded, kept beyond the operation, read many keys at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db import connections
from promise import Promise

from dbopt.cache.counters import BYPASS, HIT, MISS, FunctionCounters, counters_of
from dbopt.cache.functions.decorator import obstacle
from dbopt.cache.functions.specs import STRICT, Options
from dbopt.cache.functions.surroundings import language_and_zone
from dbopt.cache.names.keys import digest, encode_argument, value_key
from dbopt.cache.names.primary_keys import one_row
from dbopt.cache.names.tables import database_of, model_tables
from dbopt.cache.names.tokens import bulk_tag, database_tag, is_row, row_tag, table_of, table_tag, vector_hash
from dbopt.cache.observation.recordings import Recording, recorded, refuse_all, running
from dbopt.cache.server.servers import server
from dbopt.cache.values.codec import UndecodableError, UnencodableError, decode, encode
from dbopt.cache.values.entries import Entry, pack_entry, unpack_entry
from dbopt.conf import dbopt_settings
from dbopt.exceptions import TenantRequiredError, UncacheableArgumentError
from dbopt.graphql.cache.hints import Scope, checked_scope
from dbopt.graphql.cache.identities import Identity
from dbopt.graphql.cache.scoped import ScopedSpec
from dbopt.graphql.cache.watching import Watch, watching
from dbopt.graphql.loading.loaders import aligned
from dbopt.graphql.loading.model_loaders import ModelLoader, RowLoader

if TYPE_CHECKING:
    from dbopt.graphql.loading.loaders import DataLoader

_ABSENT: Any = object()


class SecondLevel:
    """Set it as ``second_level`` of a loader's class: values are looked up before `batch_load`, and stored after.

    One round trip reads all keys of a batch, one more stores those that were loaded. Values of a ModelLoader by primary
    key over a whole table depend on their rows; those of any other loader on the tables that their batch read. A value
    is worth keeping when loading it takes longer than decoding it: a row by its primary key hardly does.

    Args:
        scope: "PUBLIC", "ROLE" or "USER", as for :func:`~dbopt.graphql.cache_control`; there is no default.
        timeout: seconds, or the name of an entry in ``DBOPT["CACHE"]["TIMEOUTS"]``; None means ``TIMEOUT``.
        tags: names for ``dbopt.cache.invalidate("name")``; needed by a loader that runs no SQL.
        version: raise it when the meaning of the values changes.

    Raises:
        ConfigurationError: the scope is none, or, at the first load, TIMEOUTS does not have the name.
    """

    def __init__(
        self, *, scope: str, timeout: float | str | None = None, tags: Iterable[str] = (), version: int = 1
    ) -> None:
        self.scope: Scope = checked_scope(scope, where="SecondLevel")
        self._options = Options(decorator="SecondLevel", timeout=timeout, tags=tags, version=version)
        self._specs: WeakKeyDictionary[type, ScopedSpec] = WeakKeyDictionary()

    def set_up(self, loader: DataLoader[Any, Any]) -> Watch:
        """Set a new loader up; return what it looked at."""
        with watching(loader.context) as watch:
            loader.set_up()
        return watch

    def load(self, loader: DataLoader[Any, Any], keys: list[Any]) -> Any:
        """Return what `batch_load` would, asking it for those keys only that are not stored."""
        spec = self.spec_of(type(loader))
        batch = _Batch(spec, loader, keys, scope=self.scope)
        reason = obstacle() or ("strict" if spec.level == STRICT else None) or batch.obstacle()
        if reason is not None:
            refuse_all("nested_bypass")
            batch.counters.count(BYPASS, reason=reason, seconds=0.0)
            return loader.batch_load(keys)
        return batch.values()

    def spec_of(self, loader_class: type) -> ScopedSpec:
        """Return what was learned of a loader's class."""
        spec = self._specs.get(loader_class)
        if spec is None:

            def named(question: str, whose: str) -> None:
                """Stand for the loader: its parameters are what keys are made of."""

            named.__module__, named.__qualname__ = loader_class.__module__, loader_class.__qualname__
            spec = self._specs[loader_class] = ScopedSpec(named, self._options)
        return spec


class _Batch:
    """Some keys of one loader on their way through the cache."""

    def __init__(self, spec: ScopedSpec, loader: DataLoader[Any, Any], keys: list[Any], *, scope: Scope) -> None:
        self.counters: FunctionCounters = counters_of(spec.name)
        self._spec = spec
        self._loader = loader
        self._keys = keys
        self._identity = Identity(scope, loader.context)
        self._server = server()
        self._tenant: str | None = None
        self._head: tuple[str, ...] = ()
        self._hits: dict[Any, Any] = {}

    def obstacle(self) -> str | None:
        """Find out where the values lie; return why they cannot be kept."""
        with suppress(TenantRequiredError):
            self._tenant = self._spec.tenant()
        if self._tenant is None:
            return "tenant"
        if not self._identity.read(self._spec.names) or not self._identity.widen(self._loader.looked_at):
            return "context"
        try:
            self._places = self._value_keys(self._keys)
        except UncacheableArgumentError:
            return "arguments"
        self._head = self._spec.place(self._tenant, ("", ""), {}).head
        self._rows = _rows_of(self._loader, self._keys)
        return None

    def values(self) -> Any:
        """Return the values of the keys: what is stored, the rest from the loader."""
        started = time.perf_counter()
        rows = [self._rows.table_tag, *self._rows.tags_of(self._keys)] if self._rows is not None else []
        tags = list(dict.fromkeys((*self._head, *self._spec.ahead, *rows)))
        found = self._server.look_many(list(self._places.values()), tags)
        if found is None:
            return self._loader.batch_load(self._keys)
        data, look = found
        tokens = {tag: token for tag, token in look.tokens.items() if token is not None}
        self._accept(dict(zip(self._keys, data, strict=True)), tokens, asked=tags)
        missing = [key for key in self._keys if key not in self._hits]
        seconds = (time.perf_counter() - started) / len(self._keys)
        for key in self._keys:
            self.counters.count(HIT if key in self._hits else MISS, reason=None, seconds=seconds)
        if not missing:
            return self._hits
        absent = [tag for tag in tags if tag not in tokens]
        created = self._server.create(absent) if absent else {}
        if created is None:
            return self._merged(missing, self._loader.batch_load(missing))
        return self._load(missing, {**tokens, **created})

    def _value_keys(self, keys: Sequence[Any]) -> dict[Any, str]:
        loader, spec = self._loader, self._spec
        columns = loader.reading.columns if isinstance(loader, RowLoader) else None
        model, field = (loader.model, loader.key_field) if isinstance(loader, ModelLoader) else (None, "")
        around = [spec.path, loader.params, columns, model, field, language_and_zone(), self._identity.key()]
        # Version, codec and options are in the place of the spec.
        options = spec.place(self._tenant or "", ("", ""), {}).call
        prefix = encode_argument("params", [options, *around], function=spec.path)
        return {
            key: value_key(
                self._server.namespace,
                self._tenant or "",
                name=spec.name,
                call=digest(prefix + encode_argument("key", key, function=spec.path)),
            )
            for key in keys
        }

    def _accept(self, data: Mapping[Any, bytes | None], tokens: dict[str, bytes], *, asked: Sequence[str]) -> None:
        """Take the values that are valid."""
        entries = {key: entry for key, held in data.items() if held is not None and (entry := unpack_entry(held))}
        unknown = {tag for entry in entries.values() for tag in entry.tags}.difference(asked)
        if unknown:
            # What the loader reads is not known yet in this process.
            self._spec.learn((tag for tag in unknown if not is_row(tag)), {})
            more = self._server.peek(sorted(unknown)) or {}
            tokens.update((tag, token) for tag, token in more.items() if token is not None)
        for key, entry in entries.items():
            depends = {tag: tokens[tag] for tag in (*self._head, *entry.tags) if tag in tokens}
            if len(depends) < len(self._head) + len(entry.tags) or vector_hash(depends.values()) != entry.vector:
                continue
            try:
                self._hits[key] = decode(entry.payload)
            except UndecodableError:
                continue
            for outer in running():
                outer.adopt(depends)

    def _load(self, missing: list[Any], tokens: Mapping[str, bytes]) -> Any:
        started = time.perf_counter()
        head = {tag: tokens[tag] for tag in self._head}
        for outer in running():
            outer.adopt(head)
        ahead = {tag: token for tag, token in tokens.items() if tag not in head}
        recording = Recording(server=self._server, follows_tables=True, ahead=ahead)
        with watching(self._loader.context) as watch, recorded(recording):
            values = self._loader.batch_load(missing)
            if not isinstance(values, Promise):
                # Here, where it is watched: it may be lazy.
                values = self._by_key(missing, values)
        if isinstance(values, Promise):
            return self._merged(missing, values)
        seconds = (time.perf_counter() - started) / len(missing)
        reason = self._store(values, head=head, tokens=ahead, recording=recording, watch=watch, seconds=seconds)
        if reason is not None:
            self.counters.refused(reason)
        return {**self._hits, **values}

    def _merged(self, missing: list[Any], values: Any) -> Any:
        if isinstance(values, Promise):
            return values.then(lambda found: self._merged(missing, found))
        return {**self._hits, **self._by_key(missing, values)}

    def _by_key(self, missing: list[Any], values: Any) -> dict[Any, Any]:
        return dict(zip(missing, aligned(type(self._loader).__name__, missing, values), strict=True))

    def _store(  # noqa: PLR0913  # all that is known of a batch, by keyword
        self,
        values: Mapping[Any, Any],
        *,
        head: Mapping[str, bytes],
        tokens: Mapping[str, bytes],
        recording: Recording,
        watch: Watch,
        seconds: float,
    ) -> str | None:
        """Store what was loaded; return why it cannot be stored."""
        is_told = self._identity.widen(watch)
        self._spec.names |= self._identity.names
        if recording.refusal is not None or not is_told:
            return recording.refusal or "context"
        observed = {tag: token for tag, token in recording.tokens.items() if tag not in head}
        rows = self._rows if self._rows is not None and self._rows.cover(observed) else None
        if not (observed or self._spec.tags):
            return "no_dependencies"
        entries = []
        places = self._value_keys(list(values))
        soft_expiry_ms = int((time.time() + self._spec.timeout) * 1000)
        for key, value in values.items():
            if isinstance(value, Exception):
                continue
            tags = sorted(observed) if rows is None else rows.tags_of([key])
            depends = {**head, **{tag: (observed if rows is None else tokens)[tag] for tag in tags}}
            self._spec.learn((tag for tag in tags if not is_row(tag)), {})
            try:
                payload = encode(value)
            except UnencodableError:
                return "unencodable"
            entry = Entry(vector_hash(depends.values()), tuple(tags), payload, soft_expiry_ms, seconds)
            data = pack_entry(entry)
            if len(data) <= dbopt_settings.cache.max_value_bytes:
                entries.append((places[key], data, depends))
                self.counters.stored(len(data))
        self._server.store_many(entries, seconds=self._spec.timeout)
        return None


class _Rows:
    """The rows of one table that a batch of primary keys is about.

    Attributes:
        table_tag: what the statement of the batch is taken to read, while each value depends on its row alone.
    """

    def __init__(self, database: str, table: str, keys: Mapping[Any, str]) -> None:
        self._table = table
        self.table_tag = table_tag(database, table)
        self._shared = (database_tag(database), bulk_tag(database, table))
        self._keys = {key: row_tag(database, table, text) for key, text in keys.items()}

    def tags_of(self, keys: Iterable[Any]) -> list[str]:
        """Return the tags of some of the rows."""
        return [*self._shared, *(self._keys[key] for key in keys)]

    def cover(self, observed: Iterable[str]) -> bool:
        """Whether what was read was this table only."""
        return all(tag in self._shared or table_of(tag) == self._table for tag in observed)


def _rows_of(loader: DataLoader[Any, Any], keys: Iterable[Any]) -> _Rows | None:
    """Return the rows that a batch is about, one a key; None where a value may depend on others, too."""
    kind: Any = type(loader)
    if not isinstance(loader, ModelLoader) or kind.batch_load is not ModelLoader.batch_load:
        return None
    field = loader.model._meta.pk  # noqa: SLF001  # documented API of Django
    if kind.get_queryset is not RowLoader.get_queryset or loader.node_type is not None:
        return None
    rows = loader.rows()
    query = rows.query
    # Conditions, joins and computed columns may look at other rows.
    conditions = (query.where, query.annotations, query.extra, query.extra_tables, query.select_related)
    is_whole = not (any(conditions) or query.combinator or query.is_sliced)
    tables = model_tables(loader.model)
    if not is_whole or rows._prefetch_related_lookups or len(tables) > 1:  # type: ignore[attr-defined]  # noqa: SLF001
        return None
    if loader.key_field not in ("pk", field.name):
        return None
    connection, (table,) = connections[rows.db], tables
    named = {key: one_row(table, key, connection) for key in keys}
    texts = {key: next(iter(found.keys)) for key, found in named.items() if found is not None}
    return _Rows(database_of(connection), table, texts) if len(texts) == len(named) else None
