"""nmtkd.text.corpora.readers: the table of readers, and the definitions in conf/corpus."""

import re
from pathlib import Path

import pytest
import yaml

from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text.corpora.readers import READERS, extract, needed
from nmtkd.text.corpora.tally import CorpusError
from tests.unit.text.corpora.toys import CONF, corpus


def test_an_unknown_reader_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    message = re.escape(
        f"corpus.reader: must be one of {', '.join(READERS)}; got 'nowhere'; correct it, or write that reader"
    )
    with pytest.raises(CorpusError, match=message):
        needed(corpus("nowhere"))
    with pytest.raises(CorpusError, match=message):
        extract(corpus("nowhere"), {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_reader_has_a_definition() -> None:
    definitions = [yaml.safe_load(path.read_text(encoding="utf-8"))["corpus"] for path in CONF.glob("*.yaml")]
    assert {definition["reader"] for definition in definitions} == set(READERS)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_definitions_are_valid_and_name_themselves(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n"), "without it the file would compose into corpus.corpus"
    values = yaml.safe_load(text)
    definition = Corpus.model_validate(values["corpus"])
    common = yaml.safe_load((CONF.parent / "config.yaml").read_text(encoding="utf-8"))
    Prepare.model_validate(common["prepare"] | values["prepare"])
    assert definition.name == path.stem
    assert all(listed.mirrors for listed in definition.archives)
    assert len({listed.name for listed in definition.archives}) == len(definition.archives)
    needed(definition)
