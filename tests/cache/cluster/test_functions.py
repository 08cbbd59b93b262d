"""tests.cache.test_functions on a cluster."""

import pytest

from tests.cache.test_functions import *  # noqa: F403
from tests.cache.test_functions import pytestmark as as_there

# The first may take a lease where a round trip takes longer; the second brings an alias of its own.
del test_cold_miss_reads_tokens_before_each_new_table, test_builtin_redis_backend_serves_as_well  # noqa: F821

pytestmark = [*as_there, pytest.mark.long]
