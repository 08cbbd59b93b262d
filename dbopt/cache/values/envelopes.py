"""What is stored around a result that may be served after a write, or that may be an absence.

Functions with ``stale=`` or ``negative_timeout=`` need more than the result: when it was made, under which head of
tokens, and whether it was returned or raised. All others store the bare result.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.apps import apps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.exceptions import ObjectDoesNotExist


class Envelope(NamedTuple):
    """A result with its circumstances, which are known where the function's results are stored with them.

    ``made`` is in seconds since 1970, taken before the first statement ran. ``head`` is the hash of the tokens of
    epoch, tenant, function and own tags. ``absent`` names the model whose DoesNotExist was raised; ``value`` is then
    the exception's text.
    """

    value: Any
    made: float = 0.0
    head: bytes = b""
    absent: str | None = None

    def error(self) -> ObjectDoesNotExist | None:
        """Return what the function raised, if it did."""
        if self.absent is None:
            return None
        model: Any = apps.get_model(self.absent)
        return cast("ObjectDoesNotExist", model.DoesNotExist(self.value))


def sealed(envelope: Envelope) -> list[Any]:
    """Return an envelope as a plain value that can be encoded."""
    return [envelope.made, envelope.head, envelope.absent, envelope.value]


def opened(stored: Any) -> Envelope:
    """Return the envelope that :func:`sealed` made plain.

    Raises:
        ValueError, TypeError, LookupError: it is something else, or of a model that is no more.
    """
    made, head, absent, value = stored
    if absent is not None:
        apps.get_model(absent)
    return Envelope(value, float(made), bytes(head), absent)


@cache
def model_absent(kind: type[Any]) -> str | None:
    """Return the label of the model whose own DoesNotExist this class is, None for any other exception."""
    models: Iterable[Any] = apps.get_models()
    return next((model._meta.label_lower for model in models if model.DoesNotExist is kind), None)  # noqa: SLF001 - Django's own name


def is_negative(value: Any) -> bool:
    """Tell whether a result says that there is nothing: None, or an empty list."""
    return value is None or (type(value) is list and not value)
