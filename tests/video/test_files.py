"""Files appear whole or not at all, and bad places are refused before any work."""

import hashlib
from pathlib import Path

import pytest

from steadystyle.common.files import (
    InputError,
    atomic_path,
    check_folder_writable,
    check_not_input,
    check_writable,
    is_package,
    sha256_of,
    size_on_disk,
)


def test_a_whole_file_takes_its_name_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out.mp4"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".mp4"
        assert temporary.parent == target.parent
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_a_failure_the_old_file_stays_and_nothing_new(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_removes_the_folders_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a" / "b" / "out.txt"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_a_read_only_file_and_a_read_only_folder_are_refused(tmp_path: Path) -> None:
    locked_file = tmp_path / "locked.mp4"
    locked_file.write_bytes(b"mine")
    locked_file.chmod(0o444)
    locked_folder = tmp_path / "locked"
    locked_folder.mkdir()
    locked_folder.chmod(0o555)
    try:
        cases = {
            tmp_path: "is a folder",
            locked_file: "is read-only",
            locked_folder / "out.mp4": "make it writable",
            locked_folder / "deeper" / "out.mp4": "make it writable",
            locked_file / "out.mp4": "is a file",
        }
        for target, reason in cases.items():
            with pytest.raises(InputError, match=reason):
                check_writable(target)
            with pytest.raises(InputError, match=reason), atomic_path(target):
                raise AssertionError("the block must not run")
        assert locked_file.read_bytes() == b"mine"
    finally:
        locked_folder.chmod(0o755)
    assert sorted(tmp_path.iterdir()) == [locked_folder, locked_file]


def test_checking_writes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "out.mp4")
    check_folder_writable(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"steady" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"steady" * 100_000).hexdigest()


def write_package(path: Path, model: bytes) -> None:
    (path / "Data").mkdir(parents=True)
    (path / "Manifest.json").write_text("{}")
    (path / "Data" / "model").write_bytes(model)


def test_a_package_takes_its_name_and_replaces_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.mlpackage"
    for model in (b"first", b"second"):
        with atomic_path(target) as temporary:
            assert temporary.suffix == ".mlpackage"
            write_package(temporary, model)
        assert (target / "Data" / "model").read_bytes() == model
        assert list(target.parent.iterdir()) == [target]


def test_a_package_replaces_a_file_and_a_file_replaces_nothing_but_files(tmp_path: Path) -> None:
    target = tmp_path / "out.mlpackage"
    target.write_bytes(b"a file that is no package")
    with atomic_path(target) as temporary:
        write_package(temporary, b"whole")
    assert is_package(target)
    mine = tmp_path / "mine.mlpackage"
    mine.mkdir()
    (mine / "notes.txt").write_text("no package, whatever its name says")
    with pytest.raises(InputError, match="is a folder"), atomic_path(mine):
        raise AssertionError("the block must not run")
    assert (mine / "notes.txt").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_a_failure_the_old_package_stays_and_nothing_new(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.mlpackage"
    write_package(target, b"old")
    with pytest.raises(type(error)), atomic_path(target) as temporary:
        write_package(temporary, b"half")
        raise error
    assert (target / "Data" / "model").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_old_package_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mlpackage"
    write_package(target, b"old")
    replace = Path.replace

    def failing(self: Path, goal: Path) -> Path:
        if goal == target and (self / "Data" / "model").read_bytes() == b"new":
            raise OSError(5, "Input/output error")
        return replace(self, goal)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output"), atomic_path(target) as temporary:
        write_package(temporary, b"new")
    assert (target / "Data" / "model").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_size_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(3))
    (tmp_path / "inner" / "b").write_bytes(bytes(4))
    assert (size_on_disk(tmp_path / "a"), size_on_disk(tmp_path)) == (3, 7)


def test_an_output_that_is_an_input_is_refused_through_links_and_other_spellings(tmp_path: Path) -> None:
    source, other = tmp_path / "in.mp4", tmp_path / "other.mp4"
    source.write_bytes(b"mine")
    other.write_bytes(b"old")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    for target in (source, tmp_path / "link.mp4", tmp_path / "hard.mp4", tmp_path / "x" / ".." / "in.mp4"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="is the input"):
            check_not_input(target, "0", None, source)
    with pytest.raises(InputError, match="is the input"):
        check_not_input(other, tmp_path)  # one of the pictures of a folder, for one
    check_not_input(other, source, "great-wave", None)
    check_not_input(tmp_path / "new.mp4", source, tmp_path)
