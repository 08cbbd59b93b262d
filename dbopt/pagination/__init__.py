"""Keyset ("cursor") pages over any queryset: every page costs the same, however deep it is."""

from __future__ import annotations

from dbopt.pagination.declarations import declare_order
from dbopt.pagination.limits import page_arguments
from dbopt.pagination.page import Page, keyset_page
from dbopt.pagination.totals import Total, count_rows

__all__ = ["Page", "Total", "count_rows", "declare_order", "keyset_page", "page_arguments"]
