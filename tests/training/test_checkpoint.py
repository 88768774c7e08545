import errno
from pathlib import Path

import pytest
import torch

from attlas.errors import ArtefactError
from attlas.training.checkpoint import Checkpoint, Progress, write_whole

PROGRESS = Progress(2, [0.5, None], False, {"best": -float("inf")}, {"model:weight": torch.arange(6.0).reshape(2, 3).T})


def test_progress_comes_back_as_it_was_saved(tmp_path):
    checkpoint = Checkpoint(tmp_path / "deep" / "fit.checkpoint")
    assert checkpoint.load() is None
    checkpoint.save(PROGRESS)
    loaded = checkpoint.load()
    assert (loaded.epoch, loaded.losses, loaded.is_over, loaded.plain) == (2, [0.5, None], False, {"best": -float("inf")})
    assert torch.equal(loaded.tensors["model:weight"], PROGRESS.tensors["model:weight"])


def test_a_later_save_replaces_an_earlier_one_and_deleting_forgets(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit.checkpoint")
    checkpoint.save(PROGRESS)
    checkpoint.save(Progress(3, [0.5, 0.4, 0.3], True, {}, {}))
    assert (checkpoint.load().epoch, checkpoint.load().is_over) == (3, True)
    checkpoint.delete()
    checkpoint.delete()
    assert checkpoint.load() is None
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_of_a_checkpoint_never_stand_in_memory_beside_its_tensors(tmp_path, monkeypatch):
    contents = []

    def noting(path, content):
        contents.append(content)
        write_whole(path, content)

    monkeypatch.setattr("attlas.training.checkpoint.write_whole", noting)
    Checkpoint(tmp_path / "fit.checkpoint").save(PROGRESS)
    assert [isinstance(content, bytes) for content in contents] == [False]
    assert Checkpoint(tmp_path / "fit.checkpoint").load().epoch == 2


@pytest.mark.parametrize("share", [0, 4, 0.5, -1], ids=["empty", "four bytes", "half", "all but one byte"])
def test_a_truncated_file_is_an_error_that_says_what_to_do(tmp_path, share):
    path = tmp_path / "fit.checkpoint"
    Checkpoint(path).save(PROGRESS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share) if isinstance(share, float) else share])
    with pytest.raises(ArtefactError, match=r"fit.checkpoint is not a whole checkpoint .*delete it and fit anew"):
        Checkpoint(path).load()


@pytest.mark.parametrize("metadata", [None, {"progress": "[1"}, {"progress": "{}"}, {"progress": "[]"}, {"other": "{}"}])
def test_a_file_of_the_same_kind_that_is_not_ours_is_an_error(tmp_path, metadata):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "fit.checkpoint", metadata=metadata)
    with pytest.raises(ArtefactError, match="is not a whole checkpoint"):
        Checkpoint(tmp_path / "fit.checkpoint").load()


def fill_the_disk(path: Path) -> None:
    path.write_bytes(b"half of ")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_content_and_nothing_half_written(tmp_path):
    path = tmp_path / "weights"
    write_whole(path, b"old")
    with pytest.raises(ArtefactError, match=r"could not write .*No space left on device; nothing half-written was left"):
        write_whole(path, fill_the_disk)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(ArtefactError, match="could not write"):
        write_whole(tmp_path / "weights", fill_the_disk)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_an_error_of_ours(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(ArtefactError, match="could not write"):
        write_whole(tmp_path / "taken" / "weights", b"new")


def test_what_a_killed_write_left_behind_is_written_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "weights", interrupted)
    assert not (tmp_path / "weights").exists()
    write_whole(tmp_path / "weights", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"weights": b"new"}


def interrupted(path: Path) -> None:
    path.write_bytes(b"half of a long text")
    raise KeyboardInterrupt
