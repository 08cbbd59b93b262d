"""Keyset ("cursor") pages over any queryset: every page costs the same, however deep it is."""

from __future__ import annotations

from dbopt.pagination.page import Page, keyset_page

__all__ = ["Page", "keyset_page"]
