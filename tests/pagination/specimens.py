"""A table with a nullable column of every kind that can be ordered by, and values at the edges of each."""

# ruff: noqa: DJ001  text without a value is what is tested

from __future__ import annotations

import datetime
import math
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import models

BERLIN = ZoneInfo("Europe/Berlin")
LAST_MOMENT = datetime.datetime(2024, 10, 27, 2, 59, 59, 999_999, tzinfo=BERLIN)


class Level(models.IntegerChoices):
    LOW = 1
    HIGH = 2


class Colour(models.TextChoices):
    RED = "r"
    NONE = ""


class Specimen(models.Model):
    whole = models.BigIntegerField(null=True)
    text = models.CharField(max_length=50, null=True)
    number = models.FloatField(null=True)
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    code = models.UUIDField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    blob = models.BinaryField(null=True)
    flag = models.BooleanField(null=True)
    level = models.IntegerField(choices=Level, null=True)
    colour = models.CharField(max_length=1, choices=Colour, null=True)
    address = models.GenericIPAddressField(null=True)
    sure = models.IntegerField(default=0)
    likewise = models.IntegerField(default=0)
    parent = models.ForeignKey("self", models.CASCADE, null=True)

    class Meta:
        app_label = "pagination_tests"

    def __str__(self):
        return f"specimen {self.pk}"


class Find(models.Model):
    rank = models.IntegerField()

    class Meta:
        app_label = "pagination_tests"

    def __str__(self):
        return f"find {self.pk}"


class DatedFind(Find):
    """Its keys lie in two tables."""

    year = models.IntegerField(null=True)

    class Meta:
        app_label = "pagination_tests"


class ProxyFind(DatedFind):
    class Meta:
        app_label = "pagination_tests"
        proxy = True


EDGES = {
    "whole": [0, -1, 1, 2**63 - 1, -(2**63)],
    "text": ["", "a", "A", "ä", "z", "a'b", 'a"b', "a\\b", "%", "日本", "a b", " "],
    "number": [0.0, -0.0, 0.1, 1e300, -1e300, 5e-324, math.inf, -math.inf, math.nan],
    "amount": [Decimal("0"), Decimal("-0.0001"), Decimal("0.1"), Decimal("0.1000"), Decimal("9999999999999999.9999")],
    "code": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=2**127)],
    "day": [datetime.date(1, 1, 1), datetime.date(2024, 2, 29), datetime.date(9999, 12, 31)],
    "moment": [
        LAST_MOMENT,
        LAST_MOMENT.replace(fold=1),
        LAST_MOMENT.replace(fold=1, microsecond=999_998),
        LAST_MOMENT.replace(microsecond=0),
        datetime.datetime(2024, 3, 31, 1, 0, tzinfo=datetime.UTC),
    ],
    "clock": [datetime.time(0), datetime.time(23, 59, 59, 999_999), datetime.time(23, 59, 59)],
    "span": [datetime.timedelta(0), datetime.timedelta(microseconds=-1), datetime.timedelta(days=999, microseconds=1)],
    "blob": [b"", b"\x00", b"\x00\x00", b"\xff", b"a"],
    "flag": [False, True],
    "level": list(Level),
    "colour": list(Colour),
    "address": ["0.0.0.0", "10.0.0.1", "::1", "2001:db8::1"],
    "sure": [1, 2],
    "likewise": [1, 2],
}
NEVER_NULL = ("sure", "likewise")
# SQLite keeps no NaN, and no whole numbers beyond its floats in a column of decimals.
NOT_ON_SQLITE = {"number": [math.nan], "amount": [Decimal("9999999999999999.9999")]}
