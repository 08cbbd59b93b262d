"""Prometheus metrics of everything dbopt does, under names that dashboards already know."""
