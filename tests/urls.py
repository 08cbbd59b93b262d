"""Addresses of the test-suite."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("health/", include("dbopt.urls"))]
