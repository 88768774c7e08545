import pytest

from attlas.data.inputs import Sizes
from attlas.data.split import Split
from attlas.errors import ConfigError, TooLarge
from attlas.memory import available_bytes, parse_bytes, refuse_too_large
from attlas.models.ease import EASE
from attlas.runner import fit
from tests.toy import chosen_by


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4GB", 4_000_000_000),
        ("4 gb", 4_000_000_000),
        ("512MiB", 536_870_912),
        (" 512 MiB ", 536_870_912),
        ("1.5 kB", 1500),
        ("2TB", 2_000_000_000_000),
        ("1000000", 1_000_000),
        (1000000, 1_000_000),
        ("12b", 12),
        (".5GiB", 536_870_912),
    ],
)
def test_a_size_is_read_as_it_is_written(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "much", "4 apples", "1.2.3GB", "-1GB", "4GB or so", "1e9", "."])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="is no size of memory; write for instance 4GB or 512MiB"):
        parse_bytes(text)


def test_three_matrices_of_ease_on_the_items_of_yelp_do_not_fit_eight_gigabytes():
    needs = EASE.memory(Sizes(28_000, 35_648), EASE.Config())
    with pytest.raises(TooLarge, match=r"EASE needs 15\.2 GB \(.*5\.1 GB each.*more than the 8\.0 GB that it was given"):
        refuse_too_large("EASE", needs, parse_bytes("8GB"))


def test_a_fit_that_would_not_fit_is_refused_before_it_begins(monkeypatch):
    monkeypatch.setattr(EASE.ClosedForm, "epoch", lambda *_: pytest.fail("the fit was begun"))
    train = chosen_by([[0, 1], [1, 2]], 35_648)
    split = Split(train, None, train.take([0]), "by-hand")
    with pytest.raises(TooLarge, match=r"EASE on 2 users and 35,648 items needs .*5\.1 GB each"):
        fit(split, "ease", memory="8GB")


def test_what_fits_exactly_is_let_through():
    refuse_too_large("a deed", {"a table": 60, "another": 40}, 100)
    with pytest.raises(TooLarge, match="a table, another"):
        refuse_too_large("a deed", {"a table": 60, "another": 41}, 100)


def test_without_a_given_size_the_machines_memory_is_the_limit():
    refuse_too_large("a small deed", {"a byte": 1}, None)
    with pytest.raises(TooLarge, match="that the machine has available"):
        refuse_too_large("a large deed", {"more than all": 2 * available_bytes() + 2**50}, None)


def test_available_memory_is_what_the_kernel_says(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr("attlas.memory.MEMINFO", meminfo)
    monkeypatch.setattr("attlas.memory.CGROUP", tmp_path / "nowhere")
    assert available_bytes() == 8000 * 1024


def test_where_the_kernel_does_not_say_it_is_all_there_is(monkeypatch, tmp_path):
    monkeypatch.setattr("attlas.memory.MEMINFO", tmp_path / "nowhere")
    monkeypatch.setattr("attlas.memory.CGROUP", tmp_path / "nowhere")
    assert available_bytes() > 2**20


def test_in_a_container_it_is_what_is_left_of_its_limit(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemAvailable:    8000 kB\n")
    for name, text in (("max", "4000000\n"), ("current", "3000000\n"), ("stat", "anon 1\ninactive_file 500000\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr("attlas.memory.MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr("attlas.memory.CGROUP", tmp_path)
    assert available_bytes() == 1_500_000
    (tmp_path / "memory.stat").write_text("anon 1\n")
    assert available_bytes() == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes() == 8000 * 1024


def test_a_fit_on_a_card_is_held_against_what_the_card_has_free_or_keeps_unused(monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 700)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 200)
    refuse_too_large("a deed", {"a table": 1500}, None, device="cuda")
    with pytest.raises(TooLarge, match="that cuda has free"):
        refuse_too_large("a deed", {"a table": 1501}, None, device="cuda")
