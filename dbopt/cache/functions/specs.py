"""What a decorator said about a cached function, and the key that one call of it has."""

from __future__ import annotations

import difflib
import math
import types
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakMethod

from dbopt.cache.functions.arguments import Binder
from dbopt.cache.functions.churn import Churn
from dbopt.cache.functions.guesses import Guesses
from dbopt.cache.functions.sightings import Sightings
from dbopt.cache.functions.surroundings import checked_vary, language_and_zone, varied
from dbopt.cache.names.keys import NO_TENANT, digest, encode_argument, encode_arguments, tenant_slug
from dbopt.cache.names.tokens import EPOCH, function_tag, is_row, own_tag, tenant_tag
from dbopt.cache.observation.scopes import session_scope
from dbopt.cache.values.codec import decode, encode
from dbopt.cache.values.entries import ROWS
from dbopt.cache.values.pickles import seal, unseal
from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError, TenantRequiredError
from dbopt.tenancy import current_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dbopt.cache.functions.surroundings import Vary

STRICT = "strict"
COMMIT = "commit"
TTL = "ttl"

_LEVELS = (COMMIT, STRICT, TTL)

V = TypeVar("V")

_CODECS: Mapping[str, tuple[Callable[[object], bytes], Callable[[bytes], Any]]] = {
    "rows": (encode, decode),
    "pickle": (seal, unseal),
}

_SHORTEST_SECONDS = 0.001

# Arguments of these types alone tell where the results of some calls lie, as long as those are remembered.
_PLAIN = frozenset({int, str, bool, type(None)})

# So many tables may be read ahead with a value; a function that reads more learns the others as it runs.
_MAX_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What a decorator took; see :func:`dbopt.cache.cached_query`."""

    decorator: str = "cached_query"
    timeout: float | str | None = None
    name: str | None = None
    level: str | None = None
    stale: float = 0.0
    negative_timeout: float | None = None
    tags: Iterable[str] = ()
    vary: Vary | Iterable[Vary] = ()
    local: bool = False
    version: int = 1
    shared: bool = False
    codec: str = "rows"
    volatile_ok: float = 0.0
    behind: bool = False

    def __post_init__(self) -> None:
        # Once for all who ask; a text is refused by the spec, which can say where it stands.
        if not isinstance(self.tags, str):
            object.__setattr__(self, "tags", tuple(self.tags))


class Place(NamedTuple):
    """Where one call's result lies: its tenant, the digest of its arguments, and the tags it always depends on."""

    tenant: str
    call: str
    head: tuple[str, ...]
    arguments: Mapping[str, Any]


def _remembering(method: Callable[..., V], *, size: int) -> Callable[..., V]:
    """Return a method that remembers its newest results, and does not keep its object alive: there it is an attribute.

    By type too: 1 and True are equal, but not the same argument.
    """
    weak: Callable[[], Any] = WeakMethod(method)

    @lru_cache(maxsize=size, typed=True)
    def remembered(*args: Any) -> V:
        result: V = weak()(*args)
        return result

    return remembered


class Spec:
    """The options of one cached function, and what was learned from its runs so far. Thread-safe.

    Attributes:
        behind: whether anything that is there is served at once and computed anew behind the caller's back.
        sealed: whether results are stored in an envelope.
        seconds: how long the newest run took; None before the first.
        encode, decode: how a result becomes bytes, and bytes a result.
        is_plain: whether nothing but the result comes of decoding. Classes may do anything when they are unpickled.
        storable: whether the newest result could be stored; nobody waits for what will not be there.
    """

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        _check_function(function, options.decorator)
        self.path = f"{function.__module__}.{function.__qualname__}"
        self.name = options.name if options.name is not None else self.path
        self._options = options
        self._where = f"{options.decorator}({{}}) on {self.path}: "
        self._check()
        self.tags = tuple(options.tags)
        self.shared = options.shared
        self.encode, self.decode = _CODECS[options.codec]
        self.is_plain = options.codec == "rows"
        self.stale = options.stale
        self.negative_timeout = options.negative_timeout
        self.behind = options.behind
        self.volatile_ok = options.volatile_ok
        self.sealed = bool(options.stale) or options.negative_timeout is not None or options.behind
        self._vary = checked_vary(options.vary, where=self._where)
        self._function = function
        self._binder = Binder(function)
        self.forget()
        self._settings_part = _remembering(self._encode_settings, size=256)
        self._head = _remembering(self._make_head, size=256)
        self._plain_place = _remembering(self._make_plain_place, size=128)
        self._is_simple = not (self._vary or function.__closure__)

    def _check(self) -> None:
        options, where = self._options, self._where
        # All lambdas of a module have one path.
        if not isinstance(self.name, str) or not self.name or self.name.endswith("<lambda>"):
            raise ConfigurationError(
                where.format(f"name={self.name!r}") + "a name is text, not empty; a lambda has none of its own."
            )
        levels = tuple(level for level in _LEVELS if level != STRICT or not options.behind)
        if options.level is not None and options.level not in levels:
            raise ConfigurationError(
                where.format(f"level={options.level!r}") + f"choose one of {', '.join(map(repr, levels))}."
            )
        if isinstance(options.tags, str) or not all(isinstance(tag, str) and tag for tag in options.tags):
            raise ConfigurationError(where.format(f"tags={options.tags!r}") + "tags are a list of text.")
        if options.codec not in _CODECS:
            raise ConfigurationError(
                where.format(f"codec={options.codec!r}") + f"choose one of {', '.join(map(repr, _CODECS))}."
            )
        if options.timeout is not None and not isinstance(options.timeout, str) and not _is_duration(options.timeout):
            raise ConfigurationError(
                where.format(f"timeout={options.timeout!r}") + "give seconds, at least 0.001, or a name in TIMEOUTS."
            )
        if options.negative_timeout is not None and not _is_duration(options.negative_timeout):
            raise ConfigurationError(
                where.format(f"negative_timeout={options.negative_timeout!r}") + "give seconds, at least 0.001."
            )
        for option in ("stale", "volatile_ok"):
            given = getattr(options, option)
            if given != 0 and not _is_duration(given):
                raise ConfigurationError(where.format(f"{option}={given!r}") + "give seconds, at least 0.001, or 0.")
        if options.stale and options.level == STRICT:
            raise ConfigurationError(
                where.format(f"stale={options.stale!r}") + 'level="strict" never serves a stale result.'
            )

    @property
    def timeout(self) -> float:
        """Seconds that a result may live.

        Raises:
            ConfigurationError: the decorator names an entry that TIMEOUTS does not have.
        """
        section, given = dbopt_settings.cache, self._options.timeout
        if given is None:
            return section.timeout
        if not isinstance(given, str):
            return float(given)
        try:
            return section.timeouts[given]
        except KeyError:
            near = difflib.get_close_matches(given, section.timeouts, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                self._where.format(f"timeout={given!r}") + f'DBOPT["CACHE"]["TIMEOUTS"] has no such entry.{hint}'
            ) from None

    @property
    def level(self) -> str:
        """The consistency level: the decorator's, else that of the settings."""
        return self._options.level or dbopt_settings.cache.level

    @property
    def local(self) -> bool:
        """Whether a copy may be kept in the process."""
        return self._options.local or dbopt_settings.cache.local

    def rows_ahead(self, arguments: Mapping[str, Any]) -> list[str]:
        """Tags of the rows that a call may depend on, going by earlier calls."""
        return self._guesses.rows(arguments)

    @property
    def ahead(self) -> tuple[str, ...]:
        """Tags that earlier results depended on: their tokens are read together with the value."""
        return self._ahead

    def forget(self) -> None:
        """Forget what was learned: be as in a new process."""
        self._ahead: tuple[str, ...] = ()
        self._guesses = Guesses()
        self.seconds: float | None = None
        self.storable = True
        self.sightings = Sightings()
        self.churn = Churn()

    def learn(self, tags: Iterable[str], arguments: Mapping[str, Any]) -> None:
        """Remember tags that the result of a call depended on; those of rows as far as its arguments name them."""
        rows = {tag for tag in tags if is_row(tag)}
        self._guesses.learn(rows, arguments)
        tags = set(tags) - rows
        if not tags.issubset(self._ahead):
            # A new tuple each time: another thread may be reading the old one. Sorted, so that all processes that
            # know the same tags give one name to one state of them.
            self._ahead = tuple(sorted({*self._ahead, *tags})[:_MAX_AHEAD])

    def tenant(self) -> str | None:
        """Return the tenant part of keys; None when a tenant is needed and there is none.

        Raises:
            TenantRequiredError: there is none, and TENANCY requires one.
        """
        if self.shared:
            return NO_TENANT
        tenancy = dbopt_settings.tenancy
        tenant = current_tenant()
        # Also one that a project sets without telling how its requests find theirs.
        if tenant is not None:
            return tenant_slug(tenant)
        if tenancy.resolver is None:
            return NO_TENANT
        if tenancy.required:
            raise TenantRequiredError(
                f"{self.path} is cached for a tenant, and no tenant is set. Call it inside tenant_context(pk), "
                "or declare it with shared=True when its result belongs to no tenant."
            )
        return None

    def place(self, tenant: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Place:
        """Return where the result of a call lies.

        Raises:
            TypeError: the arguments do not fit the function.
            UncacheableArgumentError: an argument has no canonical form.
        """
        around = (self.level, *language_and_zone(), session_scope())
        if self._is_simple and not kwargs and _PLAIN.issuperset(map(type, args)):
            return self._plain_place(tenant, around, *args)
        return self._make_place(tenant, around, args, kwargs)

    def _make_plain_place(self, tenant: str, around: tuple[Any, ...], *args: Any) -> Place:
        return self._make_place(tenant, around, args, {})

    def _make_place(
        self, tenant: str, around: tuple[Any, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Place:
        arguments = self._binder.bind(args, kwargs)
        data = self._settings_part(*around)
        data += encode_arguments(arguments, function=self.path)
        if self._function.__closure__:
            data += self._encode_closure()
        if self._vary:
            data += encode_arguments(varied(self._vary, arguments, where=self._where), function=self.path)
        return Place(tenant, digest(data), self._head(tenant), arguments)

    def _encode_settings(self, level: str, language: str | None, zone: str, scope: tuple[Any, ...]) -> bytes:
        # Results in and without an envelope are told apart, should a function change from one to the other.
        codec = self._options.codec
        surroundings = (
            self.name,
            # Should another function have that name too.
            self.path,
            self._options.version,
            level,
            ROWS,
            codec,
            self.sealed,
            self.tags,
            language,
            zone,
            scope,
        )
        return encode_argument("settings", surroundings, function=self.path)

    def _make_head(self, tenant: str) -> tuple[str, ...]:
        of_tenant = () if tenant == NO_TENANT else (tenant_tag(tenant),)
        return (EPOCH, *of_tenant, function_tag(self.name), *map(own_tag, self.tags))

    def _encode_closure(self) -> bytes:
        """Two closures of one function are told apart by what they hold."""
        cells = self._function.__closure__ or ()
        held = dict(zip(self._function.__code__.co_freevars, cells, strict=True))
        return encode_arguments(
            {name: _closed_over(cell) for name, cell in held.items() if name != "__class__"}, function=self.path
        )


def _check_function(function: object, decorator: str) -> None:
    """Refuse what has no parameters or path of its own: methods that are bound, classmethods, partial objects."""
    if not isinstance(function, types.FunctionType):
        raise ConfigurationError(
            f"{decorator} decorates functions, not objects of type {type(function).__qualname__}. "
            "Write a function that calls it; below @classmethod and @staticmethod, not above them."
        )


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _SHORTEST_SECONDS <= value < math.inf


def _closed_over(cell: Any) -> object:
    try:
        value = cell.cell_contents
    except ValueError:
        return None
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, (types.FunctionType, type)):
        return f"{value.__module__}.{value.__qualname__}"
    return value
