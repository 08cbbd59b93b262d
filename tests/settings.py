"""Settings of the test-suite: real servers, whose addresses the pytest plugin puts into the environment."""

from __future__ import annotations

import os
from urllib.parse import urlsplit


def server(name: str, default: str) -> str:
    return os.environ.get(f"DBOPT_TEST_{name}") or os.environ.get(name) or default


database = urlsplit(server("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/absent"))

SECRET_KEY = "tests-only-secret-key-of-more-than-fifty-characters-0123456789"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database.path.lstrip("/"),
        "USER": database.username or "",
        "PASSWORD": database.password or "",
        "HOST": database.hostname or "",
        "PORT": str(database.port or ""),
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": server("REDIS_URL", "redis://127.0.0.1:1/0"),
        "KEY_PREFIX": f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}",
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "graphene_django",
    "dbopt",
    "dbopt.intelgraph",
    "tests.testapp",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.urls"
DBOPT = {
    "NEO4J": {
        "default": {
            "URI": server("NEO4J_URI", "bolt://127.0.0.1:1"),
            "USER": server("NEO4J_USER", ""),
            "PASSWORD": server("NEO4J_PASSWORD", ""),
        }
    }
}
