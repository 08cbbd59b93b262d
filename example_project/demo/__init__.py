"""The measurements of `manage.py demo`: one module a part of dbopt, each returning plain figures for the report."""
