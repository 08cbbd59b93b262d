"""A Django project that uses every part of dbopt; `manage.py demo` shows it at work."""
