"""tests.cache.test_eviction on a cluster."""

import pytest

from tests.cache.test_eviction import *  # noqa: F403
from tests.cache.test_eviction import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
