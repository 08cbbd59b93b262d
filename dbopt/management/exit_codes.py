"""Exit codes of the commands, for ``CommandError(returncode=...)``; 0 is success."""

from __future__ import annotations

FINDINGS, WRONG_USE, OUT_OF_REACH, INTERRUPTED = 1, 2, 3, 130
