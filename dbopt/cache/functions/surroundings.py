"""What lies around a call and is part of its key: language, time zone, and what ``vary=`` names."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import get_language, trans_real

from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Vary = str | Callable[[], object]

LANGUAGE, TIMEZONE, PERMISSIONS = "language", "timezone", "permissions"

_NAMES = (LANGUAGE, TIMEZONE, PERMISSIONS)


def checked_vary(vary: Vary | Iterable[Vary], *, where: str) -> tuple[Vary, ...]:
    """Return what a decorator was given as a tuple.

    Raises:
        ConfigurationError: a part is neither a known name nor callable.
    """
    parts = (vary,) if isinstance(vary, str) or callable(vary) else tuple(vary)
    for part in parts:
        if part not in _NAMES and not callable(part):
            raise ConfigurationError(
                where.format(f"vary={part!r}")
                + f"name {', '.join(map(repr, _NAMES))}, or give a function without arguments "
                "that returns a plain value."
            )
    return parts


def language_and_zone() -> tuple[str | None, str]:
    """Return what every result may depend on: translated texts, and dates cut in the current time zone."""
    return (
        settings.LANGUAGE_CODE if _is_untouched(trans_real) else get_language(),
        timezone.get_default_timezone_name() if _is_untouched(timezone) else timezone.get_current_timezone_name(),
    )


def _is_untouched(module: Any) -> bool:
    """Tell whether nothing was ever activated in this context, as far as that can be seen.

    Django is told so by asgiref with an error that describes itself, which takes ten times as long as looking where
    asgiref keeps what is activated. Where another version keeps it elsewhere, Django is asked.
    """
    kept = getattr(getattr(getattr(module, "_active", None), "_storage", None), "_data", None)
    return isinstance(kept, ContextVar) and kept.get(None) is None


def varied(vary: Iterable[Vary], arguments: Mapping[str, Any], *, where: str) -> dict[str, object]:
    """Return what a call varies by beside its arguments, each part under a name of its own."""
    found: dict[str, object] = {}
    for number, part in enumerate(vary):
        if callable(part):
            found[f"vary {number}"] = part()
        elif part == PERMISSIONS:
            found[PERMISSIONS] = _permissions(arguments, where=where)
    return found


def _permissions(arguments: Mapping[str, Any], *, where: str) -> list[object]:
    users = {name: value for name, value in arguments.items() if hasattr(value, "get_all_permissions")}
    if not users:
        raise ConfigurationError(
            where.format('vary="permissions"') + "no argument of this call is a user, "
            "that is, has get_all_permissions(). Pass the user, or vary by a function of your own."
        )
    # A superuser passes every check, whatever is listed; an inactive one passes none.
    return [
        (name, bool(user.is_active), bool(user.is_superuser), sorted(user.get_all_permissions()))
        for name, user in users.items()
    ]
