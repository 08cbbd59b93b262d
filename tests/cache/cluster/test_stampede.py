"""tests.cache.test_stampede on a cluster."""

import pytest

from tests.cache.test_stampede import *  # noqa: F403
from tests.cache.test_stampede import _new_stage  # noqa: F401
from tests.cache.test_stampede import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
