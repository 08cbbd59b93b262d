"""tests.cache.test_eviction on a cluster."""

from tests.cache.test_eviction import *  # noqa: F403
