"""A model with a tenant that is not a relation: the shops of the test app."""

from __future__ import annotations

import pytest

from dbopt.tenancy import TenantManager, current_tenant
from tests.testapp.models import Shop


@pytest.fixture(autouse=True)
def no_tenant_is_left_behind():
    assert current_tenant() is None
    yield
    assert current_tenant() is None


@pytest.fixture
def shops(db):
    """Shops of two tenants, and a manager over them as a model would declare it."""
    Shop.objects.bulk_create([Shop(code="a1", tenant=1), Shop(code="a2", tenant=1), Shop(code="b1", tenant=2)])
    manager = TenantManager("tenant")
    manager.model = Shop
    manager.name = "tenant_objects"
    return manager
