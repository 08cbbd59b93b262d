"""Pages without GraphQL: the examples of docs/pagination.md, as they stand there."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import RequestFactory

from dbopt.exceptions import PageSizeError
from dbopt.pagination import page_arguments
from tests.testapp.models import Book

pytestmark = pytest.mark.django_db

PAGE = Path(__file__).parents[2] / "docs" / "pagination.md"
ADDRESS = "/books/?shelf=a%26b&"


def example(name, **given):
    """Run the block of the page that begins with the file's name; returns what it defines."""
    (code,) = re.findall(rf"```python\n# {re.escape(name)}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, name, "exec"), given)
    return given


class RefusalError(Exception):
    def __init__(self, detail):
        self.detail = detail


@pytest.fixture
def paginator(monkeypatch):
    """The class of the page, in the framework itself where that is installed, else with names of its shape."""
    if importlib.util.find_spec("rest_framework") is None:
        monkeypatch.setitem(sys.modules, "rest_framework", ModuleType("rest_framework"))
        for name, content in {
            "exceptions": SimpleNamespace(ValidationError=RefusalError),
            "response": SimpleNamespace(Response=lambda data: SimpleNamespace(data=data)),
        }.items():
            monkeypatch.setitem(sys.modules, f"rest_framework.{name}", content)
    return example("paginators.py")["KeysetPagination"]


def right():
    return list(Book.objects.order_by("-pages", "title", "pk").values_list("pk", flat=True))


def request_of(address):
    request = RequestFactory().get(address)
    request.query_params = request.GET
    return request


def test_plain_view_gives_every_row_once(shelf):
    shelf(11)
    view = example("views.py", Book=Book)["book_list"]

    found, after = [], ""
    while after is not None:
        answer = json.loads(view(RequestFactory().get("/", {"first": 4} | ({"after": after} if after else {}))).content)
        found.extend(answer["results"])
        after = answer["next"]

    assert found == [
        {"title": book.title, "pages": book.pages} for book in Book.objects.order_by("-pages", "title", "pk")
    ]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"first": "201"}, "`first` is 201; at most 200 rows can be asked for at once."),
        ({"first": "-1"}, "`first` is -1; it must not be negative."),
        ({"first": "many"}, "`first` must be a whole number, not 'many'."),
        ({"after": "x"}, "Argument `after` is not a valid cursor for this list: it is not base64url."),
    ],
)
def test_plain_view_says_what_was_wrong(query, message):
    answer = example("views.py", Book=Book)["book_list"](RequestFactory().get("/", query))

    assert (answer.status_code, json.loads(answer.content)) == (400, {"error": message})


def test_links_of_the_framework_lead_through_every_row_and_back(shelf, paginator):
    shelf(11)
    view = SimpleNamespace(keyset_order=("-pages", "title"))

    def page(address):
        made = paginator()
        rows = made.paginate_queryset(Book.objects.all(), request_of(address), view)
        return made.get_paginated_response([row.pk for row in rows]).data

    forward, address = [], f"{ADDRESS}first=4"
    while address:
        last, answer = address, page(address)
        forward.append(answer["results"])
        address = answer["next"]
    back, address = [], last
    while address:
        assert dict(parse_qsl(urlsplit(address).query))["shelf"] == "a&b"
        answer = page(address)
        back.insert(0, answer["results"])
        address = answer["previous"]

    assert [pk for pks in forward for pk in pks] == right()
    assert back == forward


def test_framework_hears_of_a_bad_cursor(paginator):
    with pytest.raises(sys.modules["rest_framework.exceptions"].ValidationError) as caught:
        paginator().paginate_queryset(Book.objects.all(), request_of("/?after=x"))

    assert caught.value.detail == {
        "detail": "Argument `after` is not a valid cursor for this list: it is not base64url."
    }


@pytest.mark.parametrize("text", ["", " 5", "+5", "1_0", "5.0", "٣", "1e3", "0x1", "9" * 19, "9" * 5000, "5\n"])
def test_size_that_is_no_whole_number_is_refused(text):
    with pytest.raises(PageSizeError) as caught:
        page_arguments({"last": text})

    assert str(caught.value) == f"`last` must be a whole number, not {text[:20]!r}."
    assert caught.value.code == "BAD_PAGINATION"


def test_other_names_of_a_query_string_are_left_alone():
    assert page_arguments({"first": "007", "after": "x", "page": "3"}) == {"first": 7, "after": "x"}
