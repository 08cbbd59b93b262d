"""tests.cache.test_strict on a cluster."""

import pytest

from tests.cache.test_strict import *  # noqa: F403
from tests.cache.test_strict import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
