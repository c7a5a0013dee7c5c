"""Sentences from the grammar: properties that all of them must have."""

import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from training.__main__ import main
from training.data import LABELS, Example, read, templates
from training.data.noise import expand, noisy, typo
from training.data.templates import OTHER_LANGUAGES, SHARES, UNSURE, Sentence, write_sentences
from training.data.writer import GRAMMAR, Writer, read_folder, read_sections

ROWS = 6000
CAPABILITIES = read_folder(GRAMMAR / "capabilities")
DOMAINS = read_folder(GRAMMAR / "domains")
WORDS = read_sections(GRAMMAR / "words.txt")
LANGUAGES = read_folder(GRAMMAR / "languages")


@pytest.fixture(scope="module")
def rows() -> list[Sentence]:
    return write_sentences(ROWS, seed=3)


@pytest.fixture(scope="module")
def tidy() -> list[Sentence]:
    """English sentences without noise."""
    return [row for row in write_sentences(ROWS, seed=4, noise=0) if row.label]


class TestRows:
    def test_the_result_depends_on_the_seed_alone(self) -> None:
        assert write_sentences(400, seed=1) == write_sentences(400, seed=1)
        assert write_sentences(400, seed=1) != write_sentences(400, seed=2)

    def test_the_number_of_rows_is_exact(self, rows: list[Sentence]) -> None:
        assert len(rows) == ROWS
        assert len(write_sentences(1, seed=1)) == 1

    def test_no_text_occurs_twice_even_in_another_case(self, rows: list[Sentence]) -> None:
        counts = Counter(row.text.casefold() for row in rows)
        assert [text for text, count in counts.items() if count > 1] == []

    def test_capabilities_have_their_shares_and_balanced_labels(self, rows: list[Sentence]) -> None:
        counts = Counter((row.capability, row.label) for row in rows)
        for capability, sections in CAPABILITIES.items():
            per_label = [counts[capability, label] for label in sections]
            share = SHARES[capability]
            assert sum(per_label) == pytest.approx(ROWS * share / sum(SHARES.values()), abs=2)
            assert max(per_label) - min(per_label) <= 1
        assert {label for _, label in counts} == {*LABELS, None}

    def test_other_languages_have_even_shares_and_even_scores(self, rows: list[Sentence]) -> None:
        foreign = [row for row in rows if row.source == OTHER_LANGUAGES]
        counts = Counter(row.capability for row in foreign)
        assert counts.keys() == LANGUAGES.keys()
        assert max(counts.values()) - min(counts.values()) <= 1
        assert all(row.label is None and row.scores == UNSURE for row in foreign)
        assert max(UNSURE.values()) - min(UNSURE.values()) < 0.02
        assert all(row.scores is None and row.label for row in rows if row.source == "templates")

    def test_the_classes_are_roughly_balanced(self, rows: list[Sentence]) -> None:
        for count in Counter(row.label for row in rows if row.label).values():
            assert 0.25 * ROWS < count < 0.42 * ROWS

    def test_too_many_rows_are_rejected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(templates, "SHARES", {"ratings": 1})
        with pytest.raises(ValueError, match=r"ratings/\w+ allows no more sentences"):
            write_sentences(60_000, seed=1)

    def test_no_text_has_two_labels(self, rows: list[Sentence], tidy: list[Sentence]) -> None:
        labels: dict[str, set[str | None]] = {}
        for row in rows + tidy:
            labels.setdefault(row.text.casefold(), set()).add(row.label)
        assert [text for text, each in labels.items() if len(each) > 1] == []


class TestEnglish:
    def test_no_notation_is_left_in_the_text(self, rows: list[Sentence]) -> None:
        emoticons = re.compile(r"[:=]-?\[|\(:|:\]")
        wrong = [row.text for row in rows if re.search(r"[{}|\[\]~*]", emoticons.sub("", row.text))]
        assert wrong == []

    def test_spaces_are_single_and_never_before_punctuation(self, tidy: list[Sentence]) -> None:
        assert [row.text for row in tidy if re.search(r"\s\s|^\s|\s$|\s[.,!?](\s|$)|,[.,!?]|\.\.$", row.text)] == []

    def test_articles_agree_with_the_next_word(self, tidy: list[Sentence]) -> None:
        text = "\n".join(row.text for row in tidy)
        before_vowel = set(re.findall(r"\b[Aa] ([aeiouAEIOU]\w+)", text))
        before_consonant = set(
            re.findall(r"\b[Aa]n ([^aeiouAEIOU\W]\w+|[Uu](?:ni[fqtv]|s[aeu]|kr)\w+|[Ee]u\w+|one)", text)
        )
        assert before_vowel <= {"one", "unit", "useful", "useless", "USB", "university", "Ukrainian", "uniform", "used"}
        assert before_consonant <= {"hour", "honest", "X", "F", "MRI"}

    def test_subjects_and_verbs_agree(self, tidy: list[Sentence]) -> None:
        plurals = {line.split(":")[0].rstrip("*") for s in DOMAINS.values() for line in s["aspects"] if "*:" in line}
        wrong = re.compile(rf"\b[Tt]he ({'|'.join(plurals)}) (was|is|has|doesn't|isn't|wasn't|lacks|fails)\b")
        assert [row.text for row in tidy if wrong.search(row.text)] == []

    def test_sentences_begin_with_a_capital_unless_marked(self) -> None:
        writer = Writer(random.Random(5))
        for sections in CAPABILITIES.values():
            for template in (entry for entries in sections.values() for entry in entries if entry[0] != "~"):
                text, _ = writer.write(template)
                first = re.search(r"\w", text)
                assert first is None or not first[0].islower() or not text[0].isascii(), (template, text)

    def test_lengths_vary(self, tidy: list[Sentence]) -> None:
        words = sorted(len(row.text.split()) for row in tidy)
        assert words[len(words) // 20] <= 4
        assert words[len(words) // 2] in range(6, 12)
        assert words[-len(words) // 100] > 24


class TestGrammar:
    def test_every_capability_has_a_share_and_known_labels(self) -> None:
        assert SHARES.keys() == {*CAPABILITIES, OTHER_LANGUAGES}
        assert all(sections.keys() <= set(LABELS) for sections in CAPABILITIES.values())

    def test_every_domain_has_every_section(self) -> None:
        assert len(DOMAINS) >= 15
        assert len({frozenset(sections) for sections in DOMAINS.values()}) == 1

    def test_every_template_can_be_filled_several_times(self) -> None:
        writer = Writer(random.Random(6))
        for name, sections in CAPABILITIES.items():
            for label, entries in sections.items():
                for template in entries:
                    for _ in range(3):
                        assert writer.write(template)[0], f"{name}/{label}: {template}"

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_another_language_has_templates_that_can_be_filled(self, language: str) -> None:
        words = LANGUAGES[language]
        writer = Writer(random.Random(6), words)
        for template in words["sentences"]:
            assert not re.search(r"[{}|\[\]~*]", writer.write(template)[0]), template
        assert len({writer.write(template)[0] for template in words["sentences"] * 30}) > 150

    def test_entries_are_not_repeated(self) -> None:
        files = {**CAPABILITIES, **DOMAINS, **LANGUAGES, "words": WORDS}
        twice = {
            (file, name): [entry for entry, count in Counter(entries).items() if count > 1]
            for file, sections in files.items()
            for name, entries in sections.items()
        }
        assert {where: entries for where, entries in twice.items() if entries} == {}

    def test_emoji_are_single_code_points_of_one_polarity(self) -> None:
        glad, sad, calm = ({*WORDS[a], *WORDS[b]} for a, b in (("glad", "festive"), ("sad", "grim"), ("calm", "calm")))
        blank = set(WORDS["blank"])
        assert min(len(glad), len(sad), len(calm)) >= 40
        assert all(len(emoji) == 1 for emoji in glad | sad | calm | blank)
        assert not glad & sad | glad & calm | sad & calm | blank & (glad | sad | calm)
        assert set(WORDS["cheer"]) <= glad
        assert set(WORDS["jeer"]) <= sad

    def test_no_entry_is_in_a_good_and_a_bad_list(self) -> None:
        for good, bad in (("great", "awful"), ("pleased", "upset"), ("shout_good", "shout_bad"), ("joy", "mess")):
            assert not set(WORDS[good]) & set(WORDS[bad])
        for sections in DOMAINS.values():
            for good, bad in (("praise", "gripe"), ("hail", "pan"), ("fine", "poor"), ("nit", "perk")):
                assert not set(sections[good]) & set(sections[bad])

    def test_names_and_groups_of_people_have_no_polarity(self, tidy: list[Sentence]) -> None:
        """Every name and every group occurs about equally often with every label."""
        names = [row for row in tidy if row.capability == "names"]
        for words in (WORDS["woman"], WORDS["man"], WORDS["origin"] + WORDS["faith"] + WORDS["trait"]):
            pattern = re.compile(rf"\b({'|'.join(words)})\b")
            counts = Counter(row.label for row in names if pattern.search(row.text))
            assert set(counts) == set(LABELS)
            assert max(counts.values()) < 2.5 * min(counts.values())


class TestWriter:
    @pytest.mark.parametrize(
        ("template", "text"),
        [
            (
                "a hour, a unit, a MRI, a 8-bit chip, a European, a Ukrainian, a umbrella",
                "An hour, a unit, an MRI, an 8-bit chip, a European, a Ukrainian, an u",
            ),
            ("it is. is it? ~no", "It is. Is it? ~no"),
            ("~a apple", "an apple"),
        ],
    )
    def test_articles_and_capitals(self, template: str, text: str) -> None:
        assert Writer(random.Random(1)).write(template)[0].startswith(text)

    def test_a_repeated_slot_keeps_its_value_and_a_digit_changes_it(self) -> None:
        writer = Writer(random.Random(1))
        for _ in range(50):
            first, again, other = writer.write("~{day} {day} {day2}")[0].split()
            assert first == again != other

    def test_a_sentence_is_about_one_domain(self) -> None:
        writer = Writer(random.Random(1))
        for _ in range(50):
            text, domain = writer.write("~{praise}; {gripe}")
            praise, gripe = text.split("; ", 1)
            assert praise in DOMAINS[domain]["praise"]
            assert gripe in DOMAINS[domain]["gripe"]

    def test_sentences_of_another_language_keep_articles_and_case(self) -> None:
        words = {"sentences": ["{hora} em ponto"], "hora": ["a uma"]}
        assert Writer(random.Random(1), words).write("{hora} em ponto") == ("a uma em ponto", "")

    def test_a_slot_that_no_domain_has_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="no domain has all of"):
            Writer(random.Random(1)).write("The {unheard_of}.")


class TestNoise:
    def test_the_share_of_noise_is_kept_and_its_kind_recorded(self, rows: list[Sentence], tidy: list[Sentence]) -> None:
        share = sum(bool(row.noise) for row in rows) / len(rows)
        assert 0.2 < share < 0.3
        assert len({row.noise for row in rows if row.noise}) == 11
        assert not any(row.noise for row in tidy)

    def test_typos_keep_first_letters_and_short_words(self) -> None:
        text = "The breakfast at this hotel was really delicious."
        for seed in range(200):
            words = typo(text, random.Random(seed)).split()
            assert words != text.split()
            assert [word[0] for word in words] == [word[0] for word in text.split()]
            assert (words[0], words[2]) == ("The", "at")
            assert words[-1].endswith(".")

    def test_contractions_are_only_expanded_to_correct_english(self) -> None:
        assert expand("I can't say it's bad, and we won't go.") == "I cannot say it is bad, and we will not go."
        assert expand("It's fine. I'm in. They don't.") == "It is fine. I am in. They do not."
        for text in ("Isn't it great?", "It's been great.", "I'd never go.", "Don't you see?"):
            assert expand(text) == text

    def test_every_kind_changes_the_text(self) -> None:
        kinds = {}
        for seed in range(300):
            text, kind = noisy("I don't really love this very good hotel.", "hotel", random.Random(seed))
            kinds[kind] = text
        assert len(kinds) == 11
        assert all(text != "I don't really love this very good hotel." for text in kinds.values())
        assert kinds["upper"] == "I DON'T REALLY LOVE THIS VERY GOOD HOTEL."
        assert kinds["no_apostrophe"] == "I dont really love this very good hotel."
        assert kinds["hashtag"].split("#")[1] in {"hotel", "travel", "citybreak"}

    def test_a_text_without_letters_gets_a_hashtag(self) -> None:
        assert {noisy("5", "", random.Random(seed))[1] for seed in range(20)} == {"hashtag"}


def test_the_command_writes_rows_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    templates.add_arguments(parser)
    out = tmp_path / "templates.jsonl"
    templates.main(parser.parse_args(["--rows", "200", "--seed", "5", "--out", str(out)]))
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 200
    assert all(row["text"] and (row["label"] in LABELS) == (row["source"] == "templates") for row in rows)
    table = capsys.readouterr().out
    assert re.search(r"negation +negative +\d+", table)
    assert re.search(r"other_languages +no label +\d+", table)
    examples = read(out, names=LABELS)
    assert [Example(example.text, None, OTHER_LANGUAGES, UNSURE) for example in examples if example.label is None] == [
        example for example in examples if example.source == OTHER_LANGUAGES
    ]


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "templates.jsonl"
    out.write_text("years of work")
    with pytest.raises(SystemExit, match=r"templates\.jsonl already exists; choose another name"):
        main(["templates", "--rows", "20", "--out", str(out)])
    assert out.read_text() == "years of work"
