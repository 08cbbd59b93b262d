"""tests.cache.test_replicas on a cluster."""

import pytest

from tests.cache.test_replicas import *  # noqa: F403
from tests.cache.test_replicas import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
