"""tests.cache.test_transactions on a cluster."""

import pytest

from tests.cache.test_transactions import *  # noqa: F403
from tests.cache.test_transactions import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
