"""tests.cache.test_stampede on a cluster."""

from tests.cache.test_stampede import *  # noqa: F403
from tests.cache.test_stampede import _new_stage  # noqa: F401
