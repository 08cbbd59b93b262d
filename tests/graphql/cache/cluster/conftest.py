"""The same tests on a cluster of the cache's tests."""

from tests.cache.cluster.conftest import cluster, valkey, whole_cluster  # noqa: F401  # fixtures
