"""What the tests of sessions share: requests through Django's middleware, and a session's place in Redis."""

from __future__ import annotations

import msgpack
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.test import RequestFactory

from dbopt.cache.sessions import SessionStore
from dbopt.cache.sessions import records as session_records
from dbopt.conf import dbopt_settings

DBOPT_ENGINE = "dbopt.cache.sessions"
DJANGO_ENGINE = "django.contrib.sessions.backends.cache"


class MsgpackSerializer:
    def dumps(self, value):
        return msgpack.packb(value)

    def loads(self, data):
        return msgpack.unpackb(data)


@pytest.fixture(autouse=True)
def _sessions(settings):
    settings.SESSION_ENGINE = DBOPT_ENGINE
    # A machine that is busy with tests may be slower than any server in use.
    settings.DBOPT = dbopt_with(CONNECT_TIMEOUT=5, SOCKET_TIMEOUT=5)
    session_records.forget()
    yield
    session_records.forget()


# For tests whose server does not answer.
SHORT = {"CONNECT_TIMEOUT": 0.5, "SOCKET_TIMEOUT": 0.5}


def dbopt_with(**cache):
    """The DBOPT setting with some keys of CACHE changed."""
    return {**settings.DBOPT, "CACHE": {**settings.DBOPT.get("CACHE", {}), **cache}}


def stored(**data):
    """A session with data, saved."""
    session = SessionStore()
    session.update(data)
    session.save()
    return session


def again(session):
    """The same session as another request sees it, loaded."""
    other = SessionStore(session.session_key)
    other.load()
    other._get_session()
    return other


def place(session):
    """Its key in Redis."""
    return f"{settings.CACHES['default'].get('KEY_PREFIX') or ''}:{dbopt_settings.cache.prefix}:session:{session.session_key}".lstrip(
        ":"
    )


def user(pk):
    return get_user_model()(pk=pk)


def of_user(pk, **data):
    """A session in which a user is logged in."""
    return stored(_auth_user_id=str(pk), **data)


def visit(view, key=None, *, status=200):
    """One request through the middleware; returns the response."""

    def respond(request):
        view(request)
        return HttpResponse(status=status)

    request = RequestFactory().get("/")
    if key is not None:
        request.COOKIES[settings.SESSION_COOKIE_NAME] = key
    return SessionMiddleware(respond)(request)


def cookie(response):
    """The session's cookie of a response, or None."""
    return response.cookies.get(settings.SESSION_COOKIE_NAME)
