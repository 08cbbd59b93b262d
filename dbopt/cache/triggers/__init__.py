"""Triggers in PostgreSQL for writes that no client sees, and the worker behind them."""
