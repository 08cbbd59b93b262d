"""Results as signed pickles, for functions that choose them: what rows cannot hold, at the price of pickle's dangers.

Unpickling runs code, so nothing is unpickled whose signature was not made with this project's ``SECRET_KEY`` (or one of
``SECRET_KEY_FALLBACKS``): whoever can write to the cache server alone cannot run anything here.
"""

from __future__ import annotations

import hmac
import pickle
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models.base import ModelState
from django.utils.crypto import salted_hmac

from dbopt.cache.values.codec import UndecodableError
from dbopt.cache.values.compression import compress, decompress
from dbopt.cache.values.copies import CopiedState
from dbopt.cache.values.plain import UnencodableError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SALT = "dbopt.cache.pickles"
_SIGNATURE_BYTES = 32


def seal(result: object) -> bytes:
    """Return a result as bytes: the signature (HMAC-SHA256), then the pickle.

    Raises:
        UnencodableError: naming the type of pickle's error, never a value.
    """
    try:
        data = compress(pickle.dumps(result, pickle.HIGHEST_PROTOCOL))
    except Exception as error:
        # Every class may raise its own errors when it is pickled.
        raise UnencodableError(f"a part that pickle refuses ({type(error).__name__})") from error
    return _signature(data, settings.SECRET_KEY) + data


def unseal(payload: bytes) -> Any:
    """Return the result.

    Raises:
        UndecodableError: the signature is not ours, or a class of the pickle is gone.
    """
    signature, data = payload[:_SIGNATURE_BYTES], payload[_SIGNATURE_BYTES:]
    if not any(hmac.compare_digest(signature, _signature(data, key)) for key in _keys()):
        raise UndecodableError("signature")
    try:
        return _Unpickler(BytesIO(decompress(data))).load()
    except Exception as error:
        raise UndecodableError(type(error).__name__) from error


class _Unpickler(pickle.Unpickler):
    """Instances of models come back as copies, as those do that are stored as rows."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return CopiedState if found is ModelState else found


def _keys() -> Iterable[str | bytes]:
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


def _signature(data: bytes, key: str | bytes) -> bytes:
    return salted_hmac(_SALT, data, secret=key, algorithm="sha256").digest()
