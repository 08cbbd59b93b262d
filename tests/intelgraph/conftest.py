"""Fixtures of the domain's tests."""

from __future__ import annotations

import pytest

from tests.intelgraph.import_folder import GOOD


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of GOOD, some of them replaced; None leaves a file out; bytes stay as they are."""

    def write(files=None, **more):
        for name, content in {**GOOD, **(files or {}), **more}.items():
            path = tmp_path / name
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write
