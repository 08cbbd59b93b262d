"""Page sizes: served as asked or refused, never cut."""

from __future__ import annotations

import pytest

from dbopt.exceptions import ConfigurationError, PageSizeError
from dbopt.pagination.limits import page_size


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (100, False)),
        ({"default_size": 7}, (7, False)),
        ({"max_size": 30}, (30, False)),
        ({"first": 0}, (0, False)),
        ({"first": 1000}, (1000, False)),
        ({"last": 3}, (3, True)),
        ({"last": 5000, "max_size": 5000}, (5000, True)),
        ({"first": 1, "required": True}, (1, False)),
    ],
)
def test_size_and_direction(arguments, expected):
    assert page_size(**arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"first": -1}, "BAD_PAGINATION", "`first` is -1; it must not be negative."),
        ({"last": 1001}, "PAGE_TOO_LARGE", "`last` is 1001; at most 1000 rows can be asked for at once."),
        ({"first": 1, "last": 1}, "BAD_PAGINATION", "Give `first` or `last`, not both."),
        ({"first": True}, "BAD_PAGINATION", "`first` must be a whole number, not bool."),
        ({"last": "5"}, "BAD_PAGINATION", "`last` must be a whole number, not str."),
        (
            {"required": True, "max_size": 50},
            "PAGINATION_REQUIRED",
            "This list must be paginated: give `first` or `last`, at most 50.",
        ),
    ],
)
def test_wrong_size_is_refused_with_its_code(arguments, code, message):
    with pytest.raises(PageSizeError) as caught:
        page_size(**arguments)

    assert (caught.value.code, str(caught.value)) == (code, message)


def test_default_above_the_maximum_is_a_mistake_of_the_project():
    with pytest.raises(ConfigurationError) as caught:
        page_size(default_size=20, max_size=10)

    assert str(caught.value) == "default_size is 20; it must be between 0 and max_size, which is 10."
