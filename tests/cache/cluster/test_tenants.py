"""tests.cache.test_tenants on a cluster."""

import pytest

from tests.cache.test_tenants import *  # noqa: F403
from tests.cache.test_tenants import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
