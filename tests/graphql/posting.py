"""Asking a view over HTTP in tests."""

from __future__ import annotations

import json
import sys

from django.test import RequestFactory


def ask(view, body, *, method="post", user=None, raw=None, **headers):
    """Return (status, answer) of a view; body is the request's JSON, or for GET its parameters."""
    factory = RequestFactory()
    if method == "get":
        request = factory.get("/graphql", body, **headers)
    else:
        data = json.dumps(body) if raw is None else raw
        request = factory.post("/graphql", data, content_type="application/json", **headers)
    if user is not None:
        request.user = user
    response = view(request)
    return response.status_code, json.loads(response.content) if response.content else None


def errors_of(answer):
    """Return (message, extensions) of each error."""
    return [(error["message"], error.get("extensions")) for error in answer["errors"]]


def calls_during(function):
    """Count the calls of Python functions that a call makes: work that no busy machine changes."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls
