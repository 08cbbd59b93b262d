"""tests.cache.test_writes on a cluster."""

import pytest

from tests.cache.test_writes import *  # noqa: F403
from tests.cache.test_writes import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
