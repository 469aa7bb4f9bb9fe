"""Bugs in text: what comes back of it, what is counted and hit as a word, what references are."""

from tests.bugs import Bug

WORDS, TOKENISERS, NOISE = "nmtkd.text.words", "nmtkd.text.tokenisers", "nmtkd.text.noise"
CLEANING, PREPARATION = "nmtkd.text.cleaning", "nmtkd.text.preparation"
COMES_BACK = (
    "test_every_kind_of_text_comes_back_to_the_letter",
    "test_reversible_gives_back_every_reference",
)

BUGS = [
    Bug(
        name="text: its own brackets are taken for codes",
        module=WORDS,
        where="mask",
        old="OPEN in text or CLOSE in text",
        new="False",
        tests=(*COMES_BACK, "test_brackets_of_the_text_are_coded"),
    ),
    Bug(
        name="text: its own joiner is taken for a mark",
        module=TOKENISERS,
        where="_LOST",
        old='+ JOINER + "]"',
        new='+ "]"',
        tests=(*COMES_BACK, "test_arbitrary_text_comes_back_to_the_letter", "test_reversible_tokens"),
    ),
    Bug(
        name="text: a Persian half-space cuts its word",
        module=TOKENISERS,
        where="_CARRIERS",
        old=r'"\u200c": "\u1abe",',
        new="",
        tests=(
            "test_a_joiner_of_no_width_stays_inside_its_word",
            "test_length_is_bounded_by_units_of_each_side",
        ),
    ),
    Bug(
        name="text: a line of Chinese is one word",
        module=WORDS,
        where="split_token",
        old="if not UNSPACED.search(inner)",
        new="if inner",
        tests=(
            "test_a_token_is_its_units_between_its_joiners",
            "test_a_script_without_spaces_is_hit_at_the_rate",
            "test_length_is_bounded_by_units_of_each_side",
            "test_the_bound_before_a_split_is_in_units_too",
            "test_the_card_counts_units",
        ),
    ),
    Bug(
        name="text: noise loses joiners",
        module=NOISE,
        where="_put_back",
        old='f"{left}{core}{right}"',
        new="core",
        tests=(
            "test_swapped_units_change_places_and_joiners_stay",
            "test_substitution_and_swap_leave_every_joiner_where_it_is",
        ),
    ),
    Bug(
        name="text: noise hits coded characters",
        module=WORDS,
        where="is_protected",
        old="_PROTECTED.search(unit) is not None",
        new="unit[1].isdecimal()",
        tests=("test_a_protected_token_stays_at_any_rate", "test_what_stands_in_brackets_is_protected"),
    ),
    Bug(
        name="text: references are normalised",
        module=CLEANING,
        where="PairTokeniser.__call__",
        old="*raw, words",
        new="source, target, words",
        tests=(
            "test_raw_text_is_what_the_corpus_holds",
            "test_normalisation_changes_what_models_see_alone",
            "test_the_ceiling_is_measured_against_the_text_as_it_came",
        ),
    ),
    Bug(
        name="text: a target is as long as its characters",
        module=CLEANING,
        where="why_dropped",
        old="len(compared[1]) / ratio",
        new="len(compared[1])",
        tests=("test_a_target_is_scaled_by_the_corpus_ratio", "test_the_ratio_is_measured_on_the_corpus"),
    ),
    Bug(
        name="text: the ceiling is of what tokens say",
        module=PREPARATION,
        where="_write_held_out",
        old="[lower(pair.ref) if settings.lowercase else pair.ref for pair in pairs]",
        new="[ceiling.back(pair.tgt, pair.names, back) for pair in pairs]",
        tests=(
            "test_moses_glues_czech_numbers",
            "test_a_placeholder_that_the_source_lacks_does_not_come_back",
        ),
    ),
    Bug(
        name="text: held-out sets are as long as they like",
        module="nmtkd.text.raw_corpus",
        where="_unsplit",
        old="usable & surveyed.which(SHORT)",
        new="usable",
        tests=(
            "test_the_bound_on_length_holds_for_held_out_sets_too",
            "test_the_bound_before_a_split_is_in_units_too",
        ),
    ),
]
