"""The references that a provider connection may have. None of them blocks another one."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from lastheard import credentials as module
from lastheard.credentials import READERS, CredentialReader
from runtime.settings import SecretForbidden, SecretReference, SecretUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUNDS = r"out of bounds: .* LASTHEARD_SECRET_….*, and to files in .*\(LASTHEARD_CREDENTIALS_DIR\)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credentials folder. The working directory is another one, with files of the same names."""
    folder = tmp_path / "credentials"
    (folder / "depot").mkdir(parents=True)
    (folder / "acme").write_text("fleet-key\n")
    (folder / "depot" / "volvo").write_text("volvo-key")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "depot").mkdir(parents=True)
    for name in ("acme", "depot/volvo", "lastheard.toml"):
        (elsewhere / name).write_text("dsn = 'postgresql://u:p@h/d'")
    monkeypatch.chdir(elsewhere)
    return folder


async def refusal_of(folder: Path, reference: str) -> SecretUnavailable:
    with trio.fail_after(5), pytest.raises(SecretUnavailable) as caught:
        await CredentialReader(folder).resolve(reference)
    return caught.value


@pytest.mark.parametrize(
    ("target", "secret"), [("acme", "fleet-key"), ("depot/volvo", "volvo-key")]
)
async def test_a_relative_path_is_relative_to_the_folder(
    folder: Path, target: str, secret: str
) -> None:
    assert await CredentialReader(folder).resolve(f"file:{target}") == secret
    assert await CredentialReader(folder).resolve(f"file:{folder / target}") == secret


async def test_a_folder_given_as_a_relative_path_is_one_too(folder: Path) -> None:
    assert await CredentialReader(Path("../credentials")).resolve("file:depot/volvo") == "volvo-key"
    assert (
        await CredentialReader(Path("../credentials")).resolve(f"file:{folder}/acme") == "fleet-key"
    )


async def test_links_inside_the_folder_are_followed(folder: Path) -> None:
    """Kubernetes mounts a Secret so: a file links into `..data`, which links to a dated folder."""
    (folder / "..2026_11_28").mkdir()
    (folder / "..2026_11_28" / "key").write_text("mounted")
    (folder / "..data").symlink_to("..2026_11_28")
    (folder / "key").symlink_to("..data/key")
    assert await CredentialReader(folder).resolve("file:key") == "mounted"


async def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mounted").symlink_to(folder)
    assert await CredentialReader(tmp_path / "mounted").resolve("file:acme") == "fleet-key"
    assert (
        await CredentialReader(tmp_path / "mounted").resolve(f"file:{folder}/acme") == "fleet-key"
    )


@pytest.mark.parametrize(
    "target",
    [
        *(
            "../elsewhere/lastheard.toml",
            "depot/../../elsewhere/lastheard.toml",
            "lastheard",
            "away/lastheard.toml",
        ),
        *(
            "/etc/hostname",
            "/nowhere/at/all",
            "away/nothing",
            "../nothing",
            "/proc/self/environ",
            "/dev/zero",
        ),
        *("proc/self/environ", ".", "..", "/"),
    ],
)
async def test_a_path_outside_is_refused_whether_it_exists_or_not(
    folder: Path, tmp_path: Path, target: str
) -> None:
    (folder / "lastheard").symlink_to(tmp_path / "elsewhere" / "lastheard.toml")
    (folder / "away").symlink_to(tmp_path / "elsewhere")
    (folder / "proc").symlink_to("/proc")
    refusal = await refusal_of(folder, f"file:{target}")
    assert type(refusal) is SecretForbidden
    assert str(refusal).replace(target, "T", 1) == str(
        await refusal_of(folder, "env:HOME")
    ).replace("env:HOME", "file:T")


async def test_a_file_of_the_working_directory_is_not_read(folder: Path) -> None:
    assert "No such file" in str(await refusal_of(folder, "file:lastheard.toml"))
    assert "No such file" in str(await refusal_of(folder, "file:proc/self/environ"))


@pytest.mark.parametrize(
    "variable", ["LASTHEARD_DSN", "HOME", "LASTHEARD_KEY", "lastheard_secret_acme"]
)
async def test_only_variables_named_for_it_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "postgresql://u:p@h/d")
    monkeypatch.setenv("LASTHEARD_SECRET_ACME", "fleet-key")
    assert await CredentialReader(folder).resolve("env:LASTHEARD_SECRET_ACME") == "fleet-key"
    with pytest.raises(SecretForbidden, match=BOUNDS):
        await CredentialReader(folder).resolve(f"env:{variable}")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))  # the whole path may be too long for a socket's name


def make_device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero


@pytest.mark.parametrize("make", [make_fifo, make_socket, Path.mkdir, make_device])
async def test_only_a_regular_file_is_read(folder: Path, make: Callable[[Path], None]) -> None:
    try:
        make(folder / "odd")
    except PermissionError:
        pytest.skip("only root makes devices")
    refusal = await refusal_of(folder, "file:odd")
    assert str(refusal) == "the secret file:odd is not a regular file"


@pytest.mark.parametrize(("size", "fits"), [(65_536, True), (65_537, False)])
async def test_a_secret_has_at_most_64_kib(folder: Path, size: int, fits: bool) -> None:
    (folder / "long").write_text("x" * size)
    if fits:
        assert len(await CredentialReader(folder).resolve("file:long")) == size
    else:
        assert "larger than 65536 bytes" in str(await refusal_of(folder, "file:long"))


async def test_a_link_that_changes_after_the_first_look_leads_nowhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is of the opened file. Its path may already lead to another file."""
    open_file = os.open

    def change_then_open(path: str, flags: int) -> int:
        (folder / "acme").unlink()
        (folder / "acme").symlink_to(tmp_path / "elsewhere" / "lastheard.toml")
        return open_file(path, flags)

    monkeypatch.setattr(os, "open", change_then_open)
    assert type(await refusal_of(folder, "file:acme")) is SecretForbidden


# --- reads that hang


@pytest.fixture
def dead_mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let reading a file hang until the event is set, as on a network file system that is gone."""
    back = threading.Event()
    read = SecretReference.resolve

    def hang(self: SecretReference, *args: object, **rest: object) -> str:
        if self.kind == "file":
            back.wait(30)
        return read(self, *args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(SecretReference, "resolve", hang)
    yield back
    back.set()


async def test_a_read_that_hangs_ends_with_the_deadline(
    folder: Path, dead_mount: threading.Event
) -> None:
    with (
        trio.fail_after(3),
        pytest.raises(SecretUnavailable, match="file:acme cannot be read now: no answer within"),
    ):
        await CredentialReader(folder).resolve("file:acme", seconds=0.1)


async def test_hanging_readers_fail_files_and_leave_the_rest_working(
    folder: Path, dead_mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.1)
    monkeypatch.setenv("LASTHEARD_SECRET_ACME", "fleet-key")
    credentials = CredentialReader(folder)

    async def give_up() -> None:
        with pytest.raises(SecretUnavailable, match="cannot be read now"):
            await credentials.resolve("file:acme", seconds=0.1)

    threads = threading.active_count()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(READERS + 3):
                nursery.start_soon(give_up)
        assert threading.active_count() - threads <= READERS
        await give_up()
        assert await credentials.resolve("env:LASTHEARD_SECRET_ACME") == "fleet-key"
        assert "cannot be read now" in str(await credentials.explain_unavailable("file:acme"))
        with pytest.raises(SecretForbidden):
            await credentials.explain_unavailable("file:/etc/hostname")
        dead_mount.set()
        assert await credentials.resolve("file:acme") == "fleet-key"


async def test_stopping_does_not_wait_for_a_read_that_hangs(
    folder: Path, dead_mount: threading.Event
) -> None:
    with trio.fail_after(3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(CredentialReader(folder).resolve, "file:acme")
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()


# --- warnings at configuration


async def test_what_does_not_work_now_is_explained(folder: Path) -> None:
    credentials = CredentialReader(folder)
    os.mkfifo(folder / "pipe")
    assert await credentials.explain_unavailable("file:acme") is None
    assert await credentials.explain_unavailable("file:absent") == (
        "the secret file:absent cannot be read: No such file or directory"
    )
    assert (
        await credentials.explain_unavailable("file:pipe")
        == "the secret file:pipe is not a regular file"
    )
    assert await credentials.explain_unavailable("env:LASTHEARD_SECRET_ABSENT") == (
        "the secret env:LASTHEARD_SECRET_ABSENT is missing: no such variable"
    )
    with pytest.raises(SecretForbidden, match=BOUNDS):
        await credentials.explain_unavailable("file:../elsewhere/acme")


@pytest.mark.parametrize(
    ("reference", "workspace_id", "its"),
    [
        ("file:north/key", "north", True),
        ("file:north/deep/key", "north", True),
        ("file:./north/key", "north", True),
        ("file:/FOLDER/north/key", "north", True),
        ("file:north", "north", False),
        ("file:key", "north", False),
        ("file:south/key", "north", False),
        ("file:south/north/key", "north", False),
        ("file:north/../south/key", "north", False),
        ("file:south/../north/key", "north", False),
        ("file:/elsewhere/north/key", "north", False),
        ("file:north/key", ".", False),
        ("file:./key", ".", False),
        ("file:../key", "..", False),
        ("env:LASTHEARD_SECRET_NORTH", "north", False),
    ],
)
def test_a_workspaces_own_files_lie_in_a_folder_of_its_name(
    tmp_path: Path, reference: str, workspace_id: str, its: bool
) -> None:
    reference = reference.replace("/FOLDER", str(tmp_path))
    assert CredentialReader(tmp_path).is_of_workspace(reference, workspace_id) is its
