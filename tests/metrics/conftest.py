"""Reads the metrics page as Prometheus would."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings
from prometheus_client.parser import text_string_to_metric_families

from dbopt.metrics import series
from dbopt.metrics.names import CappedNames

TOKEN = "a-token-of-the-scraper"
MIDDLEWARE = ["dbopt.health.middleware.HealthMiddleware"]


def samples_of(page):
    """Samples of a page in the text format: {(name, labels in order of their names): value}."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@pytest.fixture
def scrape():
    """Scrapes, and returns a function from name and labels to the value (None where there is no series)."""
    from django.conf import settings

    def read():
        client = Client(headers={"Authorization": f"Bearer {TOKEN}"})
        with override_settings(MIDDLEWARE=MIDDLEWARE, DBOPT={**settings.DBOPT, "METRICS": {"TOKENS": [TOKEN]}}):
            response = client.get("/metrics")
        assert response.status_code == 200, response
        found = samples_of(response.content.decode())
        return lambda name, **labels: found.get((name, tuple(sorted(labels.items()))))

    return read


@pytest.fixture(autouse=True)
def free_names(monkeypatch):
    """There are names for all: tests elsewhere use more prefixes and loaders than a project may."""
    monkeypatch.setattr(series, "_prefixes", CappedNames(10_000))
    monkeypatch.setattr(series, "_loaders", CappedNames(10_000))
    monkeypatch.setattr(series, "_routes", CappedNames(10_000))
