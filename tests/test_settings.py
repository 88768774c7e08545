import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from attlas.errors import ConfigError
from attlas.models.delf import DELF
from attlas.models.popularity import Popularity
from attlas.settings import build


@dataclass(frozen=True)
class Oven:
    degrees: int = Field(180, ge=50, le=300)
    shelves: tuple[int, ...] = (1,)


def test_a_table_becomes_an_object_and_what_it_leaves_out_keeps_its_default():
    assert build(Oven, {"degrees": 200}, where="oven") == Oven(200, (1,))
    assert build(Oven, {}, where="oven") == Oven(180, (1,))


def test_a_list_from_a_file_becomes_a_tuple():
    assert build(DELF.Config, {"layers": [32, 16]}, where="model").layers == (32, 16)


def test_an_unknown_setting_names_the_table_and_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r"\[model\] has no setting 'embeding_dim'; did you mean 'embedding_dim'\?"):
        build(DELF.Config, {"embeding_dim": 64}, where="model")


def test_an_unknown_setting_unlike_any_other_names_them_all():
    with pytest.raises(ConfigError, match=r"\[oven\] has no setting 'x'; known are: degrees, shelves"):
        build(Oven, {"x": 1}, where="oven")


def test_where_there_is_nothing_to_set_the_message_says_so():
    with pytest.raises(ConfigError, match="has no setting 'l2'; there is nothing to set"):
        build(Popularity.Config, {"l2": 1.0}, where="model")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"degrees": 301}, r"\[oven\] degrees = 301 does not fit: .*less than or equal to 300"),
        ({"degrees": "hot"}, r"\[oven\] degrees = 'hot' does not fit: .*valid integer"),
        ({"shelves": [1, "top"]}, r"\[oven\] shelves\.1 = 'top' does not fit"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_the_reason(table, message):
    with pytest.raises(ConfigError, match=message):
        build(Oven, table, where="oven")


@pytest.mark.parametrize(
    "wrong",
    [{"smoothing": 0.0}, {"smoothing": 1.1}, {"layers": ()}, {"layers": (0,)}, {"embedding_dim": 0}, {"key": "gelu"}],
)
def test_settings_that_no_delf_can_have_are_refused(wrong):
    with pytest.raises(ConfigError, match="does not fit"):
        build(DELF.Config, wrong, where="model")
