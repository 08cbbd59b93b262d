"""The DATABASES setting of a benchmark: Django's defaults, nothing of dbopt."""

from __future__ import annotations

from urllib.parse import urlsplit


def databases(url):
    """Return the setting for one PostgreSQL at an address."""
    parts = urlsplit(url)
    return {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": parts.username or "",
            "PASSWORD": parts.password or "",
            "HOST": parts.hostname,
            "PORT": parts.port,
        }
    }
