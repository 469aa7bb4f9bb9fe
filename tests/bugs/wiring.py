"""Faults of the wiring around right formulas, as users would meet them: seen in what stages read and make."""

from __future__ import annotations

from tests.bugs import Bug

BUGS = [
    Bug(
        name="every seed trains with seed 1",
        module="nmtkd.training.student",
        where="_train_one",
        old="run.seed, scratch",
        new="1, scratch",
        tests=("test_two_seeds_differ_in_weights_and_order",),
    ),
    Bug(
        name="epochs are never shuffled",
        module="nmtkd.training.loop",
        where="Run.to_the_end",
        old="shuffle=True",
        new="shuffle=False",
        tests=("test_an_epoch_holds_each_pair_once_in_another_order_than_the_last",),
    ),
    Bug(
        name="model.pt averages one checkpoint too few",
        module="nmtkd.training.checkpoints",
        where="Checkpoints._averaged",
        old="range(training.average)",
        new="range(training.average - 1)",
        tests=("test_a_model_is_the_mean_of_its_last_checkpoints",),
    ),
    Bug(
        name="interp learns the same text as seq",
        module="nmtkd.training.student",
        where="_translations",
        old='method.sequence == "closest"',
        new='method.sequence == "nearest"',
        tests=("test_a_student_learns_from_what_its_name_says",),
    ),
    Bug(
        name="a noisy condition's teacher is a copy of the clean one",
        module="nmtkd.training.teacher",
        where="made_by",
        old='card_of(folder, "recipe")["recipe"] != recipe',
        new='not card_of(folder, "recipe")["recipe"]',
        tests=("test_only_a_teacher_of_the_same_text_is_the_same_teacher",),
    ),
    Bug(
        name="a noisy condition's students read clean text",
        module="nmtkd.training.student",
        where="gather",
        old="text = files.existing(layout.noise_dir(run.noise))",
        new='text = files.existing(layout.noise_dir("clean"))',
        tests=("test_noise_reaches_student_and_teacher",),
    ),
    Bug(
        name="codes are learnt on held-out text too",
        module="nmtkd.text.subwords",
        where="encode",
        old='learn(counts["src"] + counts["tgt"], settings',
        new='learn(counts["src"] + counts["tgt"] + Counter('
        'word for line in read_lines(prepared / "valid.src") for word in line.split()), settings',
        tests=("test_held_out_text_teaches_nothing",),
    ),
    Bug(
        name="output is detokenised by the source language's rules",
        module="nmtkd.evidence.evaluation",
        where="as_text",
        old="settings.corpus.target",
        new="settings.corpus.source",
        tests=("test_translations_are_text_by_the_target_languages_rules",),
    ),
    Bug(
        name="a killed hybrid_best takes up another gate's checkpoint",
        module="nmtkd.training.student",
        where="_train_one",
        old="run.seed, scratch,",
        new="run.seed, scratch.parent,",
        tests=(
            "test_best_of_several_says_what_all_of_them_saw",
            "test_a_training_is_known_by_all_that_it_reads",
        ),
    ),
    Bug(
        name="a segment of exactly long_words words is not long",
        module="nmtkd.evidence.evaluation",
        where="judge",
        old="size >= asked.long_words",
        new="size > asked.long_words",
        tests=("test_every_score_is_that_of_the_translations",),
    ),
    Bug(
        name="closest scores gold against the entry",
        module="nmtkd.distil.hypotheses",
        where="closest",
        old="sentence_score(_units(text), reference)",
        new="sentence_score(reference[0], [_units(text)])",
        tests=("test_closest_scores_the_entry_against_gold",),
    ),
    Bug(
        name="an evaluation does not depend on the references",
        module="nmtkd.evidence.evaluation",
        where="judge",
        old="for side in (text, references, *units)",
        new="for side in (text, text, *units)",
        tests=("test_a_result_is_scores_and_facts_of_the_model",),
    ),
]
