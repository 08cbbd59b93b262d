"""Private folders in the system's temporary folder: one a server, swept when their supervisor is gone.

A supervisor holds a lock on its folder for as long as it lives. The kernel drops that lock at any kind of death, so a
folder whose lock can be taken is stale, and no running server is ever mistaken for one.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dbopt.exceptions import ServerStartError
from dbopt.testing.services.supervisor import process_started_at

UNPRIVILEGED_USER = "nobody"
# A folder younger than this may belong to a run that has not taken its lock yet.
YOUNG_SECONDS = 5.0


@dataclass(frozen=True)
class Account:
    """A user that runs servers in place of root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Folder:
    """Where one server lives; `lock` is an open descriptor that its supervisor inherits."""

    path: Path
    lock: int
    account: Account | None

    @property
    def data(self) -> Path:
        """The part that belongs to the server's user."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.path / "output.log"

    @property
    def record(self) -> Path:
        """Pid and start time of the server."""
        return self.path / "record.json"

    def remove(self) -> None:
        """Delete everything and let go of the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            os.close(self.lock)


def unprivileged_account() -> Account | None:
    """Return the user that servers run as when we are root, which PostgreSQL refuses; None for anybody else."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED_USER)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def services_root() -> Path:
    """Return the folder of this user's servers, made on first use.

    Raises:
        ServerStartError: no temporary folder is usable, or the place is taken by somebody else.
    """
    uid = os.geteuid()
    root = _temporary_folder(for_others=uid == 0) / f"dbopt-services-{uid}"
    # Root's servers run as another user, who must be able to pass through, and only that.
    mode = 0o711 if uid == 0 else 0o700
    with suppress(FileExistsError):
        root.mkdir(mode=mode)
        root.chmod(mode)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise ServerStartError(
            f"{root} does not belong to this user alone. Remove it, or set TMPDIR to another folder."
        )
    return root


def _temporary_folder(*, for_others: bool) -> Path:
    candidates = [Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    for candidate in candidates:
        if candidate.is_dir() and not _forbids_programs(candidate) and (not for_others or _is_open(candidate)):
            return candidate
    raise ServerStartError(
        "No temporary folder can hold the servers: set TMPDIR to one that other users can enter and programs run in."
    )


def _is_open(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def _forbids_programs(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0))


def new_folder(name: str) -> Folder:
    """Make a folder for a server and hold its lock."""
    account = unprivileged_account()
    runs = services_root() / "runs"
    runs.mkdir(mode=0o711 if account else 0o700, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=runs))
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = Folder(path=path, lock=lock, account=account)
    folder.data.mkdir(mode=0o700)
    if account is not None:
        path.chmod(0o711)
        os.chown(folder.data, account.uid, account.gid)
    return folder


def sweep() -> list[str]:
    """End servers whose supervisor was killed, and remove their folders; return the folders' names."""
    runs = services_root() / "runs"
    if not runs.is_dir():
        return []
    return [path.name for path in sorted(runs.iterdir()) if _sweep_one(path)]


def _sweep_one(path: Path) -> bool:
    try:
        lock = os.open(path / "lock", os.O_RDWR)
    except OSError:
        return _is_old(path) and _remove(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        if not (path / "record.json").exists() and not _is_old(path):
            return False
        _end_recorded(path / "record.json")
        return _remove(path)
    finally:
        os.close(lock)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > YOUNG_SECONDS
    except OSError:
        return False


def _remove(path: Path) -> bool:
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _end_recorded(record: Path) -> None:
    """Kill the server of a record, if that very process is still there: its pid may be a stranger's by now."""
    try:
        recorded = json.loads(record.read_text())
        pid, started_at = int(recorded["pid"]), recorded["started_at"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if pid > 1 and started_at is not None and process_started_at(pid) == started_at:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, so that of several processes one does the work and the others wait for it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that is made once for all runs, and again when a cleaner took files out of it.

    Args:
        name: names the content and its version.
        make: fills the empty folder it is given; the folder then appears under its name at once or not at all.
    """
    shared = services_root() / "shared"
    shared.mkdir(mode=services_root().stat().st_mode & 0o777, exist_ok=True)
    final, count = shared / name, shared / f"{name}.count"
    with exclusive(shared / f"{name}.lock"):
        if final.is_dir() and count.is_file() and count.read_text() == str(_file_count(final)):
            return final
        draft = shared / f"{name}.draft"
        for leftover in (draft, final):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.mkdir(mode=0o700)
        account = unprivileged_account()
        if account is not None:
            os.chown(draft, account.uid, account.gid)
        make(draft)
        draft.chmod(0o700)
        count.write_text(str(_file_count(draft)))
        draft.rename(final)
    return final


def _file_count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def give_to(folder: Path, account: Account | None) -> None:
    """Make the unprivileged user the owner of a folder and all it holds."""
    if account is None or sys.platform == "win32":
        return
    for parent, folders, files in os.walk(folder):
        for entry in (".", *folders, *files):
            os.chown(Path(parent) / entry, account.uid, account.gid, follow_symlinks=False)
