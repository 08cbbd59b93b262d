"""tests.graphql.cache.test_second_level on a cluster."""

import pytest

from tests.graphql.cache.test_second_level import *  # noqa: F403
from tests.graphql.cache.test_second_level import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
