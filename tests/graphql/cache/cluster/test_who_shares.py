"""tests.graphql.cache.test_who_shares on a cluster."""

import pytest

from tests.graphql.cache.test_who_shares import *  # noqa: F403
from tests.graphql.cache.test_who_shares import pytestmark as as_there

pytestmark = [*as_there, pytest.mark.long]
