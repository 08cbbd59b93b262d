"""The DBOPT setting: parsed once, strict, reloaded in place."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from dbopt import conf
from dbopt.conf import dbopt_settings, parse
from dbopt.exceptions import ConfigurationError

# The way a user's module holds on to it.
held_since_import = dbopt_settings


def test_empty_setting_is_valid_and_has_the_documented_defaults():
    sections = parse({})

    assert sections["cache"].timeout == 300.0
    assert sections["graphql"].max_page_size == 1000
    assert sections["neo4j"] == {}


def test_override_settings_works_in_place_for_references_made_at_import():
    with override_settings(DBOPT={"CACHE": {"TIMEOUT": 7}}):
        assert held_since_import.cache.timeout == 7.0

    assert held_since_import.cache.timeout == 300.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"CAHCE": {}}, "DBOPT has no key 'CAHCE'. Did you mean 'CACHE'?"),
        ({"CACHE": {"TIMEOUTT": 1}}, "DBOPT[\"CACHE\"] has no key 'TIMEOUTT'. Did you mean 'TIMEOUT'?"),
        ({"CACHE": {"timeout": 1}}, "DBOPT[\"CACHE\"] has no key 'timeout'. Did you mean 'TIMEOUT'?"),
        ({"CACHE": {"TIMEOUT": "5"}}, 'DBOPT["CACHE"]["TIMEOUT"] must be a number, not \'5\'.'),
        ({"CACHE": {"TIMEOUT": True}}, 'DBOPT["CACHE"]["TIMEOUT"] must be a number, not True.'),
        ({"CACHE": {"TIMEOUT": 0}}, 'DBOPT["CACHE"]["TIMEOUT"] is 0; it must be at least 0.001.'),
        ({"CACHE": {"TIMEOUT": float("nan")}}, 'DBOPT["CACHE"]["TIMEOUT"] is nan; it must be at least 0.001.'),
        (
            {"CACHE": {"LEVEL": "strikt"}},
            "DBOPT[\"CACHE\"][\"LEVEL\"] is 'strikt'; it must be one of 'commit', 'strict', 'ttl'.",
        ),
        ({"CACHE": {"LOCAL": 1}}, 'DBOPT["CACHE"]["LOCAL"] must be True or False, not 1.'),
        ({"CACHE": {"TIMEOUTS": {"a": "x"}}}, 'DBOPT["CACHE"]["TIMEOUTS"]["a"] must be a number, not \'x\'.'),
        ({"CACHE": 5}, 'DBOPT["CACHE"] must be a dictionary, not int.'),
        ({"CACHE": {"BREAKER_FAILURES": 1.5}}, 'DBOPT["CACHE"]["BREAKER_FAILURES"] must be a whole number, not 1.5.'),
        (
            {"CACHE": {"SESSION_RENEW_AFTER": 1.5}},
            'DBOPT["CACHE"]["SESSION_RENEW_AFTER"] is 1.5; it is a share of a session\'s age, so it must be at most 1.',
        ),
        ([], "DBOPT must be a dictionary, not list."),
        ({"HEALTH": {"TOKENS": "secret"}}, 'DBOPT["HEALTH"]["TOKENS"] must be a list of strings, not this value.'),
        (
            {"HEALTH": {"NETWORKS": ["10.0.0.1/8"]}},
            'DBOPT["HEALTH"]["NETWORKS"]: 10.0.0.1/8 has host bits set.',
        ),
        (
            {"GRAPHQL": {"DEFAULT_PAGE_SIZE": 500, "MAX_PAGE_SIZE": 50}},
            'DBOPT["GRAPHQL"]["DEFAULT_PAGE_SIZE"] is 500, which is more than MAX_PAGE_SIZE (50).',
        ),
        (
            {"NEO4J": {"default": {}}},
            'DBOPT["NEO4J"]["default"] has no "URI". Give it one, for example "bolt://localhost:7687".',
        ),
        (
            {"NEO4J": {"default": {"PASSWORT": "hunter2"}}},
            "DBOPT[\"NEO4J\"][\"default\"] has no key 'PASSWORT'. Did you mean 'PASSWORD'?",
        ),
    ],
)
def test_wrong_setting_is_refused_with_a_message_that_helps(value, message):
    with pytest.raises(ConfigurationError) as caught:
        parse(value)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    "value",
    [
        {"NEO4J": {"default": {"URI": "bolt://x", "PASSWORD": 123456789}}},
        {"HEALTH": {"TOKENS": 123456789}},
        {"METRICS": {"TOKENS": [123456789]}},
        {"NEO4J": {"default": {"URI": "bolt://u:123456789@x", "MAX_CONNECTION_POOL_SIZE": "bolt://u:123456789@x"}}},
    ],
)
def test_secret_is_not_in_the_error_about_it(value):
    with pytest.raises(ConfigurationError) as caught:
        parse(value)

    assert "123456789" not in str(caught.value)


def test_secret_is_not_in_the_repr():
    sections = parse(
        {
            "NEO4J": {"default": {"URI": "bolt://x", "PASSWORD": "hunter2"}},
            "HEALTH": {"TOKENS": ["hunter2"]},
            "METRICS": {"TOKENS": ["hunter2"]},
        }
    )

    assert "hunter2" not in repr(sections)
    assert sections["neo4j"]["default"].password == "hunter2"


def test_system_check_reports_a_wrong_setting():
    with override_settings(DBOPT={"CASHE": {}}):
        messages = [(found.id, found.msg) for found in run_checks(tags=["dbopt"])]

    assert ("dbopt.E001", "DBOPT has no key 'CASHE'. Did you mean 'CACHE'?") in messages


def test_sections_are_frozen():
    with pytest.raises(AttributeError):
        parse({})["cache"].timeout = 5


def test_defaults_list_every_section_of_the_settings_object():
    assert set(conf.defaults()) == {name.upper() for name in conf.DboptSettings.__annotations__}
