"""tests.cache.test_strict on a cluster."""

from tests.cache.test_strict import *  # noqa: F403
