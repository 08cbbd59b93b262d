"""The tree of errors."""

from __future__ import annotations

import inspect
import pickle
import re
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.utils import OperationalError

from dbopt import exceptions
from dbopt.exceptions import (
    ConfigurationError,
    DboptError,
    GraphError,
    GraphTransientError,
    InvalidCursorError,
    MissingExtraError,
    PageSizeError,
    require_extra,
)

CLASSES = {
    name: item
    for name, item in vars(exceptions).items()
    if inspect.isclass(item) and item.__module__ == "dbopt.exceptions" and not issubclass(item, Warning)
}
# The same tree as callers rely on it: what else each class can be caught as.
CAUGHT_AS = {
    "MissingExtraError": (ImproperlyConfigured, ImportError),
    "ConfigurationError": (ImproperlyConfigured,),
    "LoaderContractError": (ValueError,),
    "UncacheableArgumentError": (TypeError,),
    "InvalidCursorError": (ValueError,),
    "PageSizeError": (ValueError,),
    "TenantRequiredError": (PermissionDenied,),
    "IndexBuildError": (OperationalError,),
    "IndexConflictError": (OperationalError,),
    "GraphPoolTimeoutError": (TimeoutError,),
    "GraphTimeoutError": (TimeoutError,),
}


def test_every_error_has_the_one_root():
    assert all(issubclass(item, DboptError) for item in CLASSES.values())
    assert all(issubclass(CLASSES[name], GraphError) for name in CLASSES if name.startswith("Graph"))


@pytest.mark.parametrize(("name", "bases"), CAUGHT_AS.items())
def test_errors_are_caught_as_what_callers_expect(name, bases):
    assert all(issubclass(CLASSES[name], base) for base in bases)


def test_the_drawn_tree_is_the_real_one():
    depths, drawn = [], {}
    for line in exceptions.__doc__.splitlines():
        found = re.match(r"^( {4}(?:[│ ] {3}|[├└]── )*)(\w+Error)(?: \(([\w, ]+)\))?", line)
        if found:
            depth = len(found[1]) // 4
            depths[depth - 1 :] = [found[2]]
            parents = {depths[depth - 2]} if depth > 1 else {"Exception"}
            drawn[found[2]] = parents | set(found[3].split(", ") if found[3] else ())

    assert drawn == {name: {base.__name__ for base in item.__bases__} for name, item in CLASSES.items()}


def test_a_missing_extra_says_what_to_install():
    with pytest.raises(MissingExtraError) as caught:
        require_extra("not_installed_anywhere.part", "redis")

    assert (
        str(caught.value)
        == "'not_installed_anywhere.part' is not installed. Install it with: pip install 'dbopt[redis]'"
    )
    assert (caught.value.module, caught.value.extra) == ("not_installed_anywhere.part", "redis")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_an_extra_that_is_there_is_returned():
    assert require_extra("json", "redis") is sys.modules["json"]


def test_an_extra_that_misses_something_itself_shows_that(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import not_installed_anywhere")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere") as caught:
        require_extra("half_installed", "redis")

    assert not isinstance(caught.value, MissingExtraError)


def test_facts_are_attributes():
    cursor = InvalidCursorError("after", "it was cut")
    size = PageSizeError("Too many.", code="PAGE_TOO_LARGE")
    graph = GraphTransientError("Still failing.", code="Neo.TransientError", alias="default")

    assert str(cursor) == "Argument `after` is not a valid cursor for this list: it was cut."
    assert (cursor.argument, cursor.reason) == ("after", "it was cut")
    assert (str(size), size.code) == ("Too many.", "PAGE_TOO_LARGE")
    assert (str(graph), graph.code, graph.alias) == ("Still failing.", "Neo.TransientError", "default")


def test_plain_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(ConfigurationError("wrong")))

    assert (type(error), str(error)) == (ConfigurationError, "wrong")
