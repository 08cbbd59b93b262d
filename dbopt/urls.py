"""Addresses of the health endpoints: ``path("health/", include("dbopt.urls"))``. With and without a slash."""

from __future__ import annotations

from django.urls import re_path

from dbopt.health import views

app_name = "dbopt"
urlpatterns = [
    re_path(r"^live/?$", views.live, name="live"),
    re_path(r"^startup/?$", views.startup, name="startup"),
    re_path(r"^ready/?$", views.ready, name="ready"),
    re_path(r"^database/?$", views.database, name="database"),
    re_path(r"^slow-queries/?$", views.slow_queries, name="slow-queries"),
    re_path(r"^cache-stats/?$", views.cache_statistics, name="cache-stats"),
]
