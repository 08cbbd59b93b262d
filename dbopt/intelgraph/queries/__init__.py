"""What the domain reads, by noun: functions that return querysets, each served by the index that it names.

They do not ask who the current tenant is: a caller passes the primary key of one whose rows it may see.
Two of one table may be combined with ``&``: ``newest(tenant) & name_contains(text)``.
"""
