"""tests.cache.test_races on a cluster."""

from tests.cache.test_races import *  # noqa: F403
