"""tests.cache.test_races on a cluster."""

import pytest

from tests.cache.test_races import *  # noqa: F403
from tests.cache.test_races import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
