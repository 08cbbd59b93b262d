"""Endpoints that tell a load balancer, and a person, whether the databases answer."""
