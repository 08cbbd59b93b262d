"""tests.cache.test_rows on a cluster."""

import pytest

from tests.cache.test_rows import *  # noqa: F403
from tests.cache.test_rows import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
