"""Persisted documents: a client sends an id instead of a text.

Listed ones come with the release, in a file. With mode ``automatic`` clients add to them, by Apollo's protocol: the id is
the SHA-256 of the text, and a client that is told PERSISTED_QUERY_NOT_FOUND sends both.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from graphql import GraphQLError

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError
from dbopt.graphql.safety.documents import TextCache

if TYPE_CHECKING:
    from dbopt.conf import GraphQLSettings

logger = logging.getLogger(__name__)

OFF, AUTOMATIC, LISTED = "off", "automatic", "listed"

NOT_FOUND, NOT_SUPPORTED = "PERSISTED_QUERY_NOT_FOUND", "PERSISTED_QUERY_NOT_SUPPORTED"
WANTS_TEXT = frozenset((NOT_FOUND, NOT_SUPPORTED))
"""Codes that make a client send its document's text."""

_DAY = 24 * 3600
# A client whose document was dropped sends it once more.
_TIMEOUT = 7 * _DAY
_HASH = re.compile(r"[0-9a-f]{64}")
_LONGEST_ID = 200


class PersistedDocuments:
    """The documents that clients may name, in the cache ``CACHES[alias]`` and in this process. Thread-safe.

    The cache may be out of reach: then documents are not found, and clients send their text.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._near: TextCache[str] = TextCache()

    def find(self, digest: str, options: GraphQLSettings) -> str | None:
        """Return the text that has a hash, or None."""
        text = self._near.get(digest)
        if text is None:
            text = self._read(digest)
            if text is not None:
                self._remember(digest, text, options)
        return text

    def add(self, digest: str, text: str, *, client: Callable[[], str | None], options: GraphQLSettings) -> bool:
        """Keep a text for all clients, as far as the quota of this one goes; return whether it is kept.

        Args:
            digest: the SHA-256 of the text.
            text: of a valid document.
            client: returns who sent it, None for somebody who may add nothing; asked only for a new text.
            options: where the quota is.
        """
        if self.find(digest, options) is not None:
            return True
        name = client()
        if name is None:
            return False
        try:
            if self._used(name) > options.persisted_quota:
                return False
            caches[self._alias].set(_key(digest), text, _TIMEOUT)
        except Exception:
            # The border: the operation is answered all the same.
            logger.warning("A persisted document could not be stored.", exc_info=True)
            return False
        self._remember(digest, text, options)
        return True

    def _used(self, client: str) -> int:
        """Count one more document of a client today; atomic, so that concurrent requests share one quota."""
        cache, key = caches[self._alias], f"dbopt:graphql:quota:{_digest(client)}"
        cache.add(key, 0, _DAY)
        try:
            return cache.incr(key)
        except ValueError:
            # It ended between the two.
            return 1

    def _read(self, digest: str) -> str | None:
        try:
            text = caches[self._alias].get(_key(digest))
        except Exception:
            # The border: without the cache, clients send their text.
            logger.warning("Persisted documents are out of reach.", exc_info=True)
            return None
        # Others may write to the cache: a text that is not of this hash is none.
        return text if isinstance(text, str) and _digest(text) == digest else None

    def _remember(self, digest: str, text: str, options: GraphQLSettings) -> None:
        self._near.put(digest, text, characters=len(text), limit=options.document_cache_characters)


def _key(digest: str) -> str:
    return f"dbopt:graphql:document:{digest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=8)
def stored_documents(alias: str) -> PersistedDocuments:
    """Return this process's view of the documents in one cache."""
    return PersistedDocuments(alias)


@lru_cache(maxsize=8)
def listed_documents(path: str) -> Mapping[str, str]:
    """Return id -> text of a file, a JSON object as Relay and Apollo write it; read once a process.

    Raises:
        ConfigurationError: it cannot be read, or is something else.
    """
    where = f'DBOPT["GRAPHQL"]["PERSISTED_FILE"] is {path!r}'
    try:
        documents = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{where}, which cannot be read: {error}.") from error
    if not isinstance(documents, dict) or not all(isinstance(text, str) for text in documents.values()):
        raise ConfigurationError(f"{where}; it must hold a JSON object of texts by their ids.")
    return documents


@lru_cache(maxsize=8)
def _listed_texts(path: str) -> frozenset[str]:
    return frozenset(listed_documents(path).values())


def requested_id(data: Mapping[str, Any]) -> str | None:
    """Return the id by which a request names its document, None where it names none.

    Raises:
        GraphQLError: it is malformed.
    """
    named = data.get("documentId")
    if named is None:
        extensions = data.get("extensions")
        if isinstance(extensions, str):
            # From the address of a GET request.
            try:
                extensions = json.loads(extensions)
            except (ValueError, RecursionError):
                raise GraphQLError("The extensions are not JSON.") from None
        persisted = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
        named = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
        if named is None:
            return None
    if not isinstance(named, str) or not 0 < len(named) <= _LONGEST_ID:
        raise GraphQLError(f"The id of a document must be a string of 1 to {_LONGEST_ID} characters.")
    return named


def text_of(query: Any, document_id: str | None, options: GraphQLSettings) -> Any:
    """Return the text of the document that a request means: what it names, or what it brings.

    Raises:
        GraphQLError: PERSISTED_QUERY_NOT_FOUND, PERSISTED_QUERY_MISMATCH, PERSISTED_QUERY_NOT_SUPPORTED, or
            PERSISTED_QUERY_REQUIRED: only listed documents may be asked for.
    """
    if options.persisted == OFF:
        if document_id is not None and not query:
            raise _refusal("PersistedQueryNotSupported", NOT_SUPPORTED)
        return query
    path = options.persisted_file
    if document_id is not None and not query:
        return _found(document_id, path, options)
    if options.persisted == LISTED:
        if query and (path is None or query not in _listed_texts(path)):
            raise _refusal("Only persisted documents may be asked for.", "PERSISTED_QUERY_REQUIRED")
    elif document_id is not None and isinstance(query, str) and _digest(query) != document_id:
        raise _refusal("The SHA-256 of the query is another.", "PERSISTED_QUERY_MISMATCH")
    return query


def _found(document_id: str, path: str | None, options: GraphQLSettings) -> str:
    text = None if path is None else listed_documents(path).get(document_id)
    if text is None and options.persisted == AUTOMATIC and _HASH.fullmatch(document_id):
        text = stored_documents(dbopt_settings.cache.alias).find(document_id, options)
    if text is None:
        raise _refusal("PersistedQueryNotFound", NOT_FOUND)
    return text


def _refusal(message: str, code: str) -> GraphQLError:
    # Apollo's clients look at the message or at the code; these are the ones they know.
    return GraphQLError(message, extensions={"code": code})
