"""Settings of the example project; addresses come from the environment, as in production."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dbopt.postgres import optimized_database_config

BASE_DIR = Path(__file__).resolve().parent
DEBUG = os.environ.get("DEBUG", "1") == "1"
# A random key is right for a demo: it signs cursors and sessions of this run only.
SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.postgres",
    "graphene_django",
    "dbopt",
    "dbopt.intelgraph",
    "example_project",
]
MIDDLEWARE = [
    "dbopt.health.middleware.HealthMiddleware",
    "dbopt.monitoring.middleware.MonitoringMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dbopt.tenancy.TenantMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {
    "default": optimized_database_config(
        os.environ.get("DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/dbopt"),
        min_size=1,
        max_size=8,
        application_name="dbopt-example",
    )
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
        "KEY_PREFIX": "dbopt-example",
    }
}
DBOPT = {
    "NEO4J": {
        "default": {
            "URI": os.environ.get("NEO4J_URI", "bolt://127.0.0.1:7687"),
            "USER": os.environ.get("NEO4J_USER", "neo4j"),
            "PASSWORD": os.environ.get("NEO4J_PASSWORD", ""),
            "SLOW_QUERY_MS": 100,
        }
    },
    "TENANCY": {"RESOLVER": "example_project.tenancy.tenant_of_request", "REQUIRED": True},
    "GRAPHQL": {"DEFAULT_PAGE_SIZE": 100, "MAX_PAGE_SIZE": 1000, "TIME_LIMIT": 10, "PERSISTED": "automatic"},
    "CACHE": {"TIMEOUTS": {"entity": 3600, "summary": 60}},
}
GRAPHENE = {"SCHEMA": "dbopt.intelgraph.schema.schema"}
