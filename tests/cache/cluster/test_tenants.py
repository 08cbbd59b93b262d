"""tests.cache.test_tenants on a cluster."""

from tests.cache.test_tenants import *  # noqa: F403
