import pytest

from tests import temporary


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mounts"

    def mount(kind, folder=tmp_path):
        path.write_text(f"proc /proc proc rw 0 0\n{kind} {folder} {kind} rw,relatime 0 0\n")
        return path

    return mount


def test_there_is_room_in_memory_that_we_may_write_in(tmp_path, mounts, monkeypatch):
    monkeypatch.setattr(temporary, "ENOUGH", 1)
    assert temporary.has_room(tmp_path, mounts("tmpfs"))


def test_there_is_none_on_a_disk_or_where_it_is_scarce_or_not_there(tmp_path, mounts, monkeypatch):
    monkeypatch.setattr(temporary, "ENOUGH", 1)
    assert not temporary.has_room(tmp_path, mounts("ext4"))
    assert not temporary.has_room(tmp_path, mounts("tmpfs", tmp_path.parent))
    assert not temporary.has_room(tmp_path, tmp_path / "there is none")
    assert not temporary.has_room(tmp_path / "gone", mounts("tmpfs", tmp_path / "gone"))
    monkeypatch.setattr(temporary, "ENOUGH", 2**62)
    assert not temporary.has_room(tmp_path, mounts("tmpfs"))


def test_what_somebody_has_said_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(temporary, "has_room", lambda folder: True)
    temporary.use_memory()
    assert temporary.os.environ["TMPDIR"] == str(tmp_path)
