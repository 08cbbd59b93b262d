"""Loaders: many loads of one kind become one batch."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from time import perf_counter
from typing import Any, Generic, Protocol, Self, TypeVar

from promise import Promise

from dbopt.exceptions import LoaderContractError
from dbopt.graphql.execution.awaitables import close
from dbopt.graphql.execution.promises import Dispatch, LoaderPromise, enqueue, is_pending, promise_for, then
from dbopt.graphql.execution.registry import registry_of
from dbopt.signals import announce, batch_loaded
from dbopt.tenancy import current_tenant, tenant_context

K = TypeVar("K")
V = TypeVar("V")
_MISSING: Any = object()


class Column(Protocol):
    """The cells of one field over a whole batch of parents, as a loader sees them."""

    @property
    def height(self) -> int:
        """Levels of objects below the field."""
        ...

    def deliver(self, values: list[Any]) -> None:
        """Take the values, one a parent."""
        ...


class Keeper(Protocol):
    """What keeps values beyond an operation, as a loader sees it: a `SecondLevel`."""

    def set_up(self, loader: Any) -> Any:
        """Call the loader's own `set_up`; return what that looked at."""
        ...

    def load(self, loader: Any, keys: list[Any]) -> Any:
        """Return what `batch_load` would."""
        ...


class DataLoader(Generic[K, V]):
    """Load values by key, many at a time, each key once an operation.

    ``EntityByIdLoader(info.context).load(pk)`` gives a promise; all loads that wait together become one `batch_load`.
    One instance lives on the context for each class, parameters and tenant; it belongs to one thread
    and is closed when the operation ends. With ``context=None`` the instance is the caller's own.

    Attributes:
        context_key: name in the registry; by default the class itself.
        max_batch_size: keys a call of `batch_load`, None for no limit.
        cache: False asks again for a key that was loaded before.
        second_level: keeps what was loaded beyond the operation; None: nowhere.
        context: what the loader was made with.
        tenant: the tenant at that moment; `batch_load` runs as this tenant.
        looked_at: with a second level, what `set_up` looked at on the context.
    """

    context_key: str | None = None
    max_batch_size: int | None = 1000
    cache: bool = True
    second_level: Keeper | None = None

    context: Any
    params: tuple[Any, ...]
    tenant: Any
    looked_at: Any
    _job: Dispatch | None
    _thread: int
    _is_closed: bool
    _hits: int
    _results: dict[K, Any]
    _promises: dict[K, LoaderPromise]
    _queue: dict[K, None]
    _columns: list[tuple[Column, Sequence[K | None]]]

    def __new__(cls, context: Any = None, *params: Any) -> Self:
        """Return the context's instance, making it at first use."""
        if context is None:
            return cls._make(None, params)
        registry = registry_of(context)
        key = (cls.context_key or cls, params, current_tenant())
        known: Any = registry.loaders.get(key)
        if known is not None and type(known) is not cls:
            raise TypeError(
                f"context_key {cls.context_key!r} of {cls.__name__} is already used by {type(known).__name__}. "
                "Give one of them another name."
            )
        loader: Self = cls._make(context, params) if known is None else known
        if known is None:
            registry.loaders[key] = loader
            if registry.thread is not None:
                # A coroutine that asks first, in another thread, must not take the loader away from its operation.
                loader._thread = registry.thread
        loader._check_usable()
        return loader

    def __init__(self, context: Any = None, *params: Any) -> None:
        # __new__ may return an instance that is in use: nothing is set here.
        pass

    @classmethod
    def _make(cls, context: Any, params: tuple[Any, ...]) -> Self:
        loader = object.__new__(cls)
        loader.context = context
        loader.params = params
        loader.tenant = current_tenant()
        loader._thread = threading.get_ident()
        loader._is_closed = False
        loader._job = None
        loader._hits = 0
        loader._results, loader._promises, loader._queue, loader._columns = {}, {}, {}, []
        if cls.second_level is None:
            loader.set_up()
        else:
            loader.looked_at = cls.second_level.set_up(loader)
        return loader

    def set_up(self) -> None:
        """Prepare a new instance; `params` and `context` are set. For subclasses."""

    def batch_load(self, keys: list[K]) -> Sequence[V | Exception | None] | Mapping[K, V] | Promise[Any]:
        """Load distinct keys: one value a key in their order, or a mapping, or a promise of either.

        A value that is an exception rejects its key only; a key that a mapping leaves out is None.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a batch_load(keys).")

    def load(self, key: K) -> Promise[Any]:
        """Promise the value of a key.

        Raises:
            TypeError: the key is None.
            RuntimeError: the loader belongs to another thread, or its operation has ended.
        """
        self._check_usable()
        if key is None:
            raise TypeError(f"{type(self).__name__}.load() needs a key, got None.")
        promise = self._promises.get(key)
        if promise is not None and (self.cache or is_pending(promise)):
            self._hits += 1
            return promise
        promise = self._promises[key] = promise_for(self)
        value = self._results.get(key, _MISSING)
        if value is not _MISSING:
            self._hits += 1
            promise.settle_value(value)
            return promise
        self._queue[key] = None
        self._schedule(height=0, held=1)
        return promise

    def load_many(self, keys: Iterable[K]) -> Promise[Any]:
        """Promise the values of keys, in their order."""
        return Promise.all([self.load(key) for key in keys])

    def prime(self, key: K, value: V | Exception) -> Self:
        """Set the value of a key that was not loaded yet; an exception rejects."""
        self._check_usable()
        if key not in self._promises:
            self._results.setdefault(key, value)
        return self

    def clear(self, key: K) -> Self:
        """Forget a key, so that the next load asks again; what is being loaded stays."""
        self._check_usable()
        self._results.pop(key, None)
        promise = self._promises.get(key)
        if promise is not None and not is_pending(promise):
            del self._promises[key]
        return self

    def clear_all(self) -> Self:
        """Forget all keys, as `clear` does."""
        self._check_usable()
        self._results.clear()
        self._promises = {key: promise for key, promise in self._promises.items() if is_pending(promise)}
        return self

    def close(self) -> None:
        """End the loader and let go of all it holds. The executor does this at the end of an operation."""
        self._is_closed = True
        self._job = None
        self.context = None
        self._results, self._promises, self._queue, self._columns = {}, {}, {}, []

    def _check_usable(self) -> None:
        if self._thread != threading.get_ident():
            raise RuntimeError(
                f"{type(self).__name__} belongs to another thread. Take one from this thread's own context; "
                "a coroutine of its operation calls it by sync_to_async."
            )
        if self._is_closed:
            raise RuntimeError(
                f"The operation of this {type(self).__name__} has ended. "
                f"Take a new one: {type(self).__name__}(info.context)."
            )

    def load_column(self, keys: Sequence[K | None], column: Column) -> list[Any] | None:
        """Return the values of a whole column, or None: then the column gets them later. A None key gives None.

        For the executor: no promise is made.
        """
        self._check_usable()
        known = self._results if self.cache else {}
        missing = {key: None for key in keys if key is not None and key not in known}
        if not missing:
            self._hits += len(keys)
            return [None if key is None else known[key] for key in keys]
        self._hits += sum(key is not None for key in keys) - len(missing.keys() - self._queue.keys())
        self._queue.update(missing)
        self._columns.append((column, keys))
        self._schedule(height=column.height, held=0)
        return None

    def _schedule(self, *, height: int, held: int) -> None:
        if self._job is None:
            self._job = Dispatch(self, height=height, held=held)
            enqueue(self._job)
        else:
            self._job.height = max(self._job.height, height)
            self._job.held += held

    def _dispatch(self) -> None:
        keys, columns = list(self._queue), self._columns
        self._queue, self._columns, self._job = {}, [], None
        size = self.max_batch_size or len(keys) or 1
        chunks = [keys[start : start + size] for start in range(0, len(keys), size)]
        delivery = _Delivery(self, columns, len(chunks))
        for chunk in chunks:
            started = perf_counter()
            try:
                with nullcontext() if self.tenant == current_tenant() else tenant_context(self.tenant):
                    values = (
                        self.batch_load(chunk) if self.second_level is None else self.second_level.load(self, chunk)
                    )
            except Exception as error:  # noqa: BLE001  # user code: its error belongs to the keys of this chunk
                delivery.fail(chunk, error)
            else:
                if isinstance(values, Promise):
                    delivery.await_chunk(chunk, values)
                else:
                    delivery.store(chunk, values)
            self._announce(size=len(chunk), seconds=perf_counter() - started)

    def _announce(self, *, size: int, seconds: float) -> None:
        hits, self._hits = self._hits, 0
        announce(batch_loaded, sender=type(self), loader=type(self).__name__, size=size, hits=hits, seconds=seconds)


class _Delivery:
    """One dispatch on its way back: chunks may end one by one, columns get their values when all have."""

    def __init__(self, loader: DataLoader[Any, Any], columns: list[tuple[Column, Sequence[Any]]], chunks: int) -> None:
        self.loader = loader
        self.columns = columns
        self.chunks = chunks
        self.values: dict[Any, Any] = {}

    def await_chunk(self, keys: list[Any], promise: Promise[Any]) -> None:
        then(promise, lambda values: self.store(keys, values), lambda error: self.fail(keys, error))

    def store(self, keys: list[Any], values: Any) -> None:
        try:
            ordered = aligned(type(self.loader).__name__, keys, values)
        except Exception as error:  # noqa: BLE001  # a lazy result may run user code or SQL
            self.fail(keys, error)
            return
        self.values.update(zip(keys, ordered, strict=True))
        if self.loader.cache:
            self.loader._results.update(zip(keys, ordered, strict=True))  # noqa: SLF001
        promises = self.loader._promises  # noqa: SLF001
        if promises:
            for key, value in zip(keys, ordered, strict=True):
                promise = promises.get(key)
                if promise is not None and is_pending(promise):
                    promise.settle_value(value)
        self._end_chunk()

    def fail(self, keys: list[Any], error: Exception) -> None:
        """Reject the keys of one chunk; they are not remembered, so that a later load tries again."""
        for key in keys:
            self.values[key] = error
            promise = self.loader._promises.pop(key, None)  # noqa: SLF001
            if promise is not None and is_pending(promise):
                promise.settle_error(error)
        self._end_chunk()

    def _end_chunk(self) -> None:
        self.chunks -= 1
        if self.chunks:
            return
        known, values = self.loader._results, self.values  # noqa: SLF001
        for column, keys in self.columns:
            found = [values[key] if key in values else known.get(key) for key in keys]
            if None in keys:
                found = [None if key is None else value for key, value in zip(keys, found, strict=True)]
            column.deliver(found)


def aligned(name: str, keys: list[Any], values: Any) -> list[Any]:
    """Return what a batch_load returned as one value a key.

    Raises:
        LoaderContractError: it is something else.
    """
    if isinstance(values, Mapping):
        return [values.get(key) for key in keys]
    if isinstance(values, (str, bytes, set, frozenset)) or not isinstance(values, Iterable):
        close(values)
        raise LoaderContractError(
            f"{name}.batch_load must return one value for each of its {len(keys)} keys as a list or a mapping, "
            f"not {'None' if values is None else type(values).__name__}."
        )
    ordered = list(values)
    if len(ordered) != len(keys):
        raise LoaderContractError(
            f"{name}.batch_load returned {len(ordered)} values for {len(keys)} keys. "
            "Return one value a key, in the order of the keys, or a mapping."
        )
    return ordered
