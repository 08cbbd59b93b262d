"""Who may read reports."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.test import RequestFactory, override_settings

from dbopt.access import Access, client_address, decide

TOKEN = "correct-horse"
PERMISSION = "auth.view_user"


def request(address="203.0.113.9", *, path="/", method="get", user=None, **headers):
    made = getattr(RequestFactory(), method)(path, REMOTE_ADDR=address, headers=headers)
    if user is not None:
        made.user = user
    return made


def test_everybody_is_refused_by_default():
    assert decide(request()) is Access.HIDDEN
    assert decide(request("127.0.0.1")) is Access.HIDDEN
    assert decide(request(authorization="Bearer ")) is Access.HIDDEN


@pytest.mark.parametrize("tokens", [[TOKEN], ["older", TOKEN], [TOKEN, "newer"]])
def test_each_of_several_tokens_opens(tokens):
    assert decide(request(authorization=f"Bearer {TOKEN}"), tokens=tokens) is Access.TOKEN
    assert decide(request(authorization=f"bearer  {TOKEN} "), tokens=tokens) is Access.TOKEN


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer correct", "Bearer correct-horse2", "Bearer CORRECT-HORSE", f"Basic {TOKEN}", TOKEN,
     "Bearer \xff\xfe", f"Bearer {TOKEN} {TOKEN}"],
)  # fmt: skip
def test_other_authorization_does_not_open(header):
    assert decide(request(authorization=header), tokens=[TOKEN]) is Access.HIDDEN


def test_an_empty_token_never_opens():
    assert decide(request(authorization="Bearer "), tokens=[""]) is Access.HIDDEN
    assert decide(request(authorization="Bearer x"), tokens=[""]) is Access.HIDDEN


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append(other) or one == other)

    decide(request(authorization=f"Bearer {TOKEN}"), tokens=[TOKEN, "second", "third"])

    assert compared == [TOKEN.encode(), b"second", b"third"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_token_in_the_address_or_body_does_not_open(method):
    path = f"/?token={TOKEN}&access_token={TOKEN}&Authorization=Bearer+{TOKEN}"

    assert decide(request(path=path, method=method), tokens=[TOKEN]) is Access.HIDDEN


@pytest.mark.parametrize(
    ("address", "network", "access"),
    [
        ("10.1.2.3", "10.0.0.0/8", Access.NETWORK),
        ("11.1.2.3", "10.0.0.0/8", Access.HIDDEN),
        ("::ffff:10.1.2.3", "10.0.0.0/8", Access.NETWORK),
        ("2001:db8::1", "2001:db8::/32", Access.NETWORK),
        ("2001:db8::1", "10.0.0.0/8", Access.HIDDEN),
        ("", "0.0.0.0/0", Access.HIDDEN),
        ("not an address", "0.0.0.0/0", Access.HIDDEN),
        ("10.1.2.3, 1.1.1.1", "10.0.0.0/8", Access.HIDDEN),
    ],
)
def test_networks_hold_the_address_of_the_connection(address, network, access):
    assert decide(request(address), networks=[network]) is access


def test_forwarded_address_does_not_count_without_trusted_proxies():
    forged = request("203.0.113.9", x_forwarded_for="10.0.0.1")

    assert decide(forged, networks=["10.0.0.0/8"]) is Access.HIDDEN


def test_forwarded_address_does_not_count_from_somebody_else_than_the_proxy():
    forged = request("203.0.113.9", x_forwarded_for="10.0.0.1")

    assert decide(forged, networks=["10.0.0.0/8"], trusted_proxies=["192.0.2.0/24"]) is Access.HIDDEN


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1, 198.51.100.7, 192.0.2.8", "198.51.100.7"),
        ("192.0.2.7, 192.0.2.8", "192.0.2.7"),
        ("", "192.0.2.1"),
        ("10.0.0.1, ", "192.0.2.1"),
        ("10.0.0.1, nonsense", None),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_client_is_the_right_most_address_that_is_no_trusted_proxy(forwarded, client):
    address = client_address(request("192.0.2.1", x_forwarded_for=forwarded), trusted_proxies=["192.0.2.0/24"])

    assert (str(address) if address else None) == client


@pytest.mark.parametrize("address", ["127.0.0.1", "127.5.5.5", "::1", "::ffff:127.0.0.1"])
def test_loopback_opens_with_debug_only(address):
    with override_settings(DEBUG=True):
        assert decide(request(address)) is Access.DEBUG
    with override_settings(DEBUG=False):
        assert decide(request(address)) is Access.HIDDEN


@override_settings(DEBUG=True)
@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded"])
def test_loopback_does_not_open_to_what_a_proxy_forwards(header):
    assert decide(request("127.0.0.1", **{header: "127.0.0.1"}), trusted_proxies=["127.0.0.1"]) is Access.HIDDEN


@override_settings(DEBUG=True)
def test_debug_does_not_open_to_others():
    assert decide(request("192.168.0.5")) is Access.HIDDEN


@pytest.fixture
def make_user(db):
    def make(name, *, permitted=False, **options):
        user = User.objects.create_user(name, **options)
        if permitted:
            user.user_permissions.add(Permission.objects.get(codename="view_user"))
        return user

    return make


@pytest.mark.parametrize(
    ("options", "access"),
    [
        ({"is_staff": True, "permitted": True}, Access.PERMISSION),
        ({"is_staff": True, "is_superuser": True}, Access.PERMISSION),
        ({"is_staff": True}, Access.FORBIDDEN),
        ({"permitted": True}, Access.FORBIDDEN),
        ({"is_staff": True, "permitted": True, "is_active": False}, Access.FORBIDDEN),
        ({}, Access.FORBIDDEN),
    ],
)
def test_staff_with_the_permission_may_read(make_user, options, access):
    assert decide(request(user=make_user("ann", **options)), permission=PERMISSION) is access


def test_anonymous_user_is_a_stranger():
    assert decide(request(user=AnonymousUser()), permission=PERMISSION) is Access.HIDDEN


def test_without_a_permission_no_user_is_looked_at():
    class Refusing:
        def __getattr__(self, name):
            raise AssertionError(name)

    assert decide(request(user=Refusing())) is Access.HIDDEN


def test_a_token_asks_no_user():
    class Refusing:
        def __getattr__(self, name):
            raise AssertionError(name)

    asked = request(user=Refusing(), authorization=f"Bearer {TOKEN}")

    assert decide(asked, tokens=[TOKEN], permission=PERMISSION) is Access.TOKEN


def test_refusals_are_404_for_strangers_and_403_for_users():
    assert {access: access.status for access in Access if not access.is_granted} == {
        Access.HIDDEN: 404,
        Access.FORBIDDEN: 403,
    }
    assert {access.status for access in Access if access.is_granted} == {200}


def test_no_token_shows_in_what_is_returned_or_logged(caplog):
    caplog.set_level(0)

    outcomes = [
        decide(request(authorization=f"Bearer {given}"), tokens=[TOKEN, "other-secret"])
        for given in (TOKEN, "my-guess")
    ]

    shown = repr(outcomes) + str([outcome.__dict__ for outcome in outcomes]) + caplog.text
    assert not any(secret in shown for secret in (TOKEN, "other-secret", "my-guess"))
