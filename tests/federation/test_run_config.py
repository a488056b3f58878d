import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.config import compose_run
from federation.errors import ConfigError
from federation.run_config import flower_run_config, hydra_overrides

words = st.text(st.characters(blacklist_categories=("Cs",)), min_size=0, max_size=20)
overrides = st.lists(words.filter(lambda text: not text.startswith("study=")), max_size=6)


@given(study=words, others=overrides)
def test_overrides_come_out_as_they_went_in(study, others):
    asked = [f"study={study}", *others]
    assert hydra_overrides(flower_run_config(asked)) == asked


@pytest.mark.parametrize(
    "other",
    [
        "title='A study of two'",
        'title="it\'s"',
        "run_dir='/a b/c'",
        "+x={a: 1, b: [2, 3]}",
        "title=''",
        "a=\\ b",
    ],
)
def test_quotes_and_spaces_survive(other):
    asked = ["study=nodule_ct", "rounds=3", other]
    assert hydra_overrides(flower_run_config(asked)) == asked


def test_both_ways_to_start_a_run_mean_the_same():
    asked = ["privacy.epsilon=3", "title='Two words'", "study=nodule_ct"]
    assert compose_run(hydra_overrides(flower_run_config(asked))) == compose_run(asked)
    assert compose_run(asked).study.title == "Two words"


def test_without_a_study_it_is_the_default_one():
    assert flower_run_config(["rounds=3"]) == {"study": "nodule_ct", "overrides": "rounds=3"}
    assert hydra_overrides({"study": "nodule_ct"}) == ["study=nodule_ct"]


def test_quotes_that_do_not_match_are_told():
    with pytest.raises(ConfigError, match="No closing quotation"):
        hydra_overrides({"study": "nodule_ct", "overrides": "title='open"})


def test_a_run_config_without_a_study_is_told():
    with pytest.raises(ConfigError, match=r"no 'study'; see pyproject\.toml"):
        hydra_overrides({"overrides": ""})
