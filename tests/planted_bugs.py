"""`python -m tests.planted_bugs [WORD ...]`: plants one bug at a time in a copy of src/ and runs the tests that must catch it there.

A test that passes on broken code proves nothing. WORDs choose bugs by their names. Exit code 1 where a bug is missed, where the tests are
red without any bug, or where the text to replace is no longer found.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOSSES, DIVERGENCES, GATES, TARGETS = (f"src/nmtkd/distil/{name}.py" for name in ("losses", "divergences", "gates", "targets"))
PLUGIN = "src/nmtkd_fairseq"
FUSED, ATTENTION, DROPOUT = "src/nmtkd/distil/fused.py", "src/nmtkd/attention.py", "src/nmtkd/dropout.py"
FROM_LOGITS = ("tests/unit/test_fused.py::test_it_is_the_loss_from_logits_with_all_its_gradients",)
COPIED = ("src", "tests", "pyproject.toml")


@dataclass(frozen=True, kw_only=True)
class Bug:
    """`old` stands once in `file`, `new` in its place is wrong, and each of `tests` must say so."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def tests(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/unit/test_{file}.py::{name}" for name in names)


BUGS = [
    Bug(
        name="KL's arguments swapped",
        file=DIVERGENCES,
        old="(torch.xlogy(p_NJ, p_NJ) - p_NJ * logq_NJ).sum(-1)\n\n\ndef reverse",
        new="(logq_NJ.exp() * (logq_NJ - p_NJ.log())).sum(-1)\n\n\ndef reverse",
        tests=tests("divergences", "test_forward_kl_by_hand", "test_they_are_torchs_own") + tests("losses", "test_two_positions_by_hand"),
    ),
    Bug(
        name="Jensen-Shannon's beta turned round",
        file=DIVERGENCES,
        old="torch.logaddexp(p_NJ.log() + math.log(beta), logq_NJ + math.log1p(-beta))",
        new="torch.logaddexp(p_NJ.log() + math.log1p(-beta), logq_NJ + math.log(beta))",
        tests=tests("divergences", "test_jensen_shannon_by_hand", "test_they_are_torchs_own"),
    ),
    Bug(
        name="teacher's zero makes reverse KL infinite",
        file=DIVERGENCES,
        old="p_NJ.clamp(min=SMALLEST).log()",
        new="p_NJ.log()",
        tests=tests("divergences", "test_reverse_kl_by_hand", "test_a_teachers_zero_costs_a_finite_price"),
    ),
    Bug(
        name="padding is paid for",
        file=LOSSES,
        old="return paid_N.masked_fill(padding_N, 0.0)",
        new="return paid_N",
        tests=tests("losses", "test_padding_changes_neither_loss_nor_gradient", "test_nothing_but_padding_costs_nothing")
        + tests("plugin", "test_padding_changes_neither_loss_nor_gradient"),
    ),
    Bug(
        name="temperature multiplies logits",
        file=LOSSES,
        old="exact_NV / term.temperature",
        new="exact_NV * term.temperature",
        tests=tests("losses", "test_temperature_divides_logits_and_its_square_multiplies", "test_with_all_tokens_it_is_torchs_kl"),
    ),
    Bug(
        name="T squared is missing",
        file=LOSSES,
        old="term.temperature**2 * divergence",
        new="divergence",
        tests=tests("losses", "test_temperature_divides_logits_and_its_square_multiplies") + tests("plugin", "test_the_loss_by_hand"),
    ),
    Bug(
        name="student's rest bucket dropped",
        file=LOSSES,
        old="return torch.cat([logits_NV.gather(-1, ids_NK), others_N.unsqueeze(-1)], dim=-1)",
        new="return torch.cat([logits_NV.gather(-1, ids_NK), torch.full_like(others_N, -30.0).unsqueeze(-1)], dim=-1)",
        tests=tests("losses", "test_the_bucket_holds_what_the_kept_tokens_leave", "test_it_is_a_lower_bound_that_grows_with_k"),
    ),
    Bug(
        name="teacher's rest bucket dropped",
        file=LOSSES,
        old="(1.0 - probs_NK.sum(-1, keepdim=True)).clamp(min=0.0)",
        new="torch.zeros_like(probs_NK[:, :1])",
        tests=tests("losses", "test_the_bucket_holds_what_the_kept_tokens_leave", "test_two_positions_by_hand"),
    ),
    Bug(
        name="rest bucket has no gradient",
        file=LOSSES,
        old=".mul_(grad_NJ[:, -1:])",
        new=".mul_(0.0)",
        tests=tests("losses", "test_gradients_are_right", "test_grouping_by_hand_is_grouping_by_torch"),
    ),
    Bug(
        name="ranking looks at another token than the best",
        file=LOSSES,
        old="ranking(exact_NV, ids_NK[:, 0], term.ranked)",
        new="ranking(exact_NV, ids_NK[:, -1], term.ranked)",
        tests=tests("losses", "test_the_ranking_hinge_is_added_at_temperature_1"),
    ),
    Bug(
        name="online ranking reads the dictionary's first token",
        file=f"{PLUGIN}/online.py",
        old="if self.cfg.ranking > 0.0 else None",
        new="if False else None",
        tests=tests("criterions", "test_a_teacher_in_memory_says_what_it_said_to_the_disk"),
    ),
    Bug(
        name="hardest takes padding",
        file=LOSSES,
        old="nll_N.detach().masked_fill(padding_N, -torch.inf).topk(count)",
        new="nll_N.detach().masked_fill(padding_N, torch.inf).topk(count)",
        tests=tests("losses", "test_the_hardest_by_hand", "test_the_hardest_are_as_many_as_asked_and_never_padding"),
    ),
    Bug(
        name="hardest counts padding",
        file=LOSSES,
        old="real = int((~padding_N).sum())",
        new="real = len(padding_N)",
        tests=tests("losses", "test_the_hardest_by_hand") + tests("plugin", "test_padding_changes_neither_loss_nor_gradient"),
    ),
    Bug(
        name="a and 1 - a swapped",
        file=f"{PLUGIN}/criterion.py",
        old="(1.0 - self.cfg.teacher_weight) * ce_N + self.cfg.teacher_weight * term_N",
        new="self.cfg.teacher_weight * ce_N + (1.0 - self.cfg.teacher_weight) * term_N",
        tests=tests("plugin", "test_the_loss_by_hand", "test_the_gradient_is_that_of_both_parts"),
    ),
    Bug(
        name="sampled text counts as a label",
        file=f"{PLUGIN}/criterion.py",
        old='if sample.get("sampled", False):',
        new="if False:",
        tests=tests("criterions", "test_along_samples_the_teachers_term_is_all"),
    ),
    Bug(
        name="validation has a teacher's term",
        file=f"{PLUGIN}/criterion.py",
        old="if not self.training or self.cfg.teacher_weight == 0.0:",
        new="if self.cfg.teacher_weight == 0.0:",
        tests=tests("plugin", "test_validation_has_no_teacher_term") + tests("criterions", "test_validation_is_the_stock_loss"),
    ),
    Bug(
        name="targets follow the order of sampling",
        file=f"{PLUGIN}/dataset.py",
        old='zip(batch["id"].tolist(), positions, strict=True)',
        new='zip([one["id"] for one in samples], positions, strict=True)',
        tests=tests("plugin", "test_targets_follow_their_lines_into_a_batch"),
    ),
    Bug(
        name="hypotheses follow the order of sampling",
        file=f"{PLUGIN}/dataset.py",
        old='for line in batch["id"].tolist()]',
        new='for line in [one["id"] for one in samples]]',
        tests=tests("plugin", "test_hypotheses_follow_their_lines_into_a_batch"),
    ),
    Bug(
        name="online teacher in train mode",
        file=f"{PLUGIN}/online.py",
        old="teacher.to(device).eval()",
        new="teacher.to(device).train()",
        tests=tests(
            "criterions",
            "test_the_teacher_is_asked_without_dropout_and_without_gradient",
            "test_a_teacher_in_memory_says_what_it_said_to_the_disk",
        ),
    ),
    Bug(
        name="student stays in eval mode after sampling",
        file=f"{PLUGIN}/online.py",
        old="        model.train()\n",
        new="",
        tests=tests("criterions", "test_along_samples_the_teachers_term_is_all"),
    ),
    Bug(
        name="stored targets' teacher in train mode",
        file="src/nmtkd/models/fairseq_bridge.py",
        old="model.to(device).eval()",
        new="model.to(device).train()",
        tests=tests("bridge", "test_a_model_comes_back_in_eval_mode") + tests("scoring", "test_probabilities_are_a_direct_softmax"),
    ),
    Bug(
        name="an ensemble is its first member",
        file=TARGETS,
        old="torch.stack(softened).mean(0)",
        new="softened[0]",
        tests=tests("criterions", "test_several_teachers_are_asked_for_their_mean"),
    ),
    Bug(
        name="hybrid gate swapped",
        file=GATES,
        old="(gate_B * word_B + (1.0 - gate_B) * seq_B).sum()",
        new="(gate_B * seq_B + (1.0 - gate_B) * word_B).sum()",
        tests=tests("gates", "test_the_hybrid_loss_by_hand", "test_a_learned_gate_drifts_to_the_smaller_loss_of_each_sentence")
        + tests("criterions", "test_a_fixed_gate_chooses_and_mixes_the_two_levels", "test_the_gate_alone_drifts_to_the_smaller_loss"),
    ),
    Bug(
        name="hybrid gate teaches the encoder",
        file=GATES,
        old="(encoded_TBC.detach() * real_TB1)",
        new="(encoded_TBC * real_TB1)",
        tests=tests("gates", "test_the_encoder_is_read_and_not_taught")
        + tests("criterions", "test_the_encoder_learns_nothing_through_the_gate"),
    ),
    Bug(
        name="hybrid gate reads padding",
        file=GATES,
        old=".sum(0) / real_TB1.sum(0)",
        new=".mean(0)",
        tests=tests("gates", "test_a_sentence_gate_by_hand") + tests("criterions", "test_a_hybrid_batch_is_the_sum_of_its_sentences"),
    ),
    Bug(
        name="openness counts padding",
        file=GATES,
        old="return opened_TBU[(~padding_BT).t()].mean(0)",
        new="return opened_TBU.flatten(0, 1).mean(0)",
        tests=tests(
            "gates",
            "test_openness_does_not_count_padding",
            "test_open_units_leave_padding_out",
            "test_the_budget_is_paid_beside_the_loss_a_token",
        ),
    ),
    Bug(
        name="the task does not say which update it is",
        file=f"{PLUGIN}/task.py",
        old="        criterion.num_updates = update_num\n",
        new="",
        tests=tests("gates", "test_the_budget_is_paid_beside_the_loss_a_token"),
    ),
    Bug(
        name="a cut leaves the second matrix's first columns",
        file=GATES,
        old="after.weight[:, keep_U]",
        new="after.weight[:, :kept]",
        tests=tests("gates", "test_cutting_units_that_say_nothing_changes_nothing", "test_trimming_closed_units_changes_no_output"),
    ),
    Bug(
        name="the least open units stay",
        file=GATES,
        old="argsort(descending=True,",
        new="argsort(descending=False,",
        tests=tests("gates", "test_the_most_open_units_stay_and_one_of_each_block", "test_trimming_keeps_the_units_that_are_most_open"),
    ),
    Bug(
        name="a closed unit may open again",
        file=GATES,
        old="CLOSED = -1000.0",
        new="CLOSED = -5.0",
        tests=tests("gates", "test_a_closed_unit_stays_closed_whatever_is_learnt"),
    ),
    Bug(
        name="a killed training forgets what its gates did",
        file="src/nmtkd/models/training.py",
        old='            self.adaptive.facts = state["gates"]\n',
        new="            pass\n",
        tests=tests("criterions", "test_a_killed_hybrid_of_gated_units_goes_on_as_if_nothing_were"),
    ),
    Bug(
        name="converter swaps gate and value",
        file="src/nmtkd/models/conversion.py",
        old="linear_0_noact, layer.fc1.value)",
        new="linear_0_noact, layer.fc1.gate)",
        tests=tests("gates", "test_both_engines_translate_alike"),
    ),
    Bug(
        name="cut-off embeddings stay cut off",
        file=f"{PLUGIN}/consistency.py",
        old="            hook.remove()",
        new="            pass",
        tests=tests("divergences", "test_cutting_off_everything_leaves_positions_alone"),
    ),
    Bug(
        name="consistency counts padding",
        file=f"{PLUGIN}/consistency.py",
        old="(logp_BTV - logq_BTV)) * real_BT1).sum()",
        new="(logp_BTV - logq_BTV))).sum()",
        tests=tests("divergences", "test_disagreement_by_hand", "test_a_batch_of_two_views_is_the_sum_of_its_sentences"),
    ),
    Bug(
        name="a killed training forgets its gate",
        file="src/nmtkd/models/training.py",
        old='        self.trainer.get_criterion().load_state_dict(state["criterion"])\n',
        new="",
        tests=tests("criterions", "test_a_killed_hybrid_of_gated_units_goes_on_as_if_nothing_were"),
    ),
    Bug(
        name="fused: the rest bucket has no gradient",
        file=FUSED,
        old="logits_nV.mul_(scale_n1 + soft_scale_n1)",
        new="logits_nV.mul_(scale_n1)",
        tests=FROM_LOGITS + tests("fused_criterions", "test_word_level"),
    ),
    Bug(
        name="fused: smoothing teaches no feature",
        file=FUSED,
        old="alpha=-self.other",
        new="alpha=0.0",
        tests=FROM_LOGITS + tests("fused_criterions", "test_word_level"),
    ),
    Bug(
        name="fused: temperature is missing in the gradient",
        file=FUSED,
        old="soft_mass_n1) / temperature",
        new="soft_mass_n1)",
        tests=FROM_LOGITS + tests("fused_criterions", "test_word_level"),
    ),
    Bug(
        name="fused: a chunk forgets those before it",
        file=FUSED,
        old="            self.grad_VC.addmm_(logits_nV.t(), inputs_nC)",
        new="            self.grad_VC = logits_nV.t() @ inputs_nC",
        tests=FROM_LOGITS,
    ),
    Bug(
        name="fused: logits too large for exp",
        file=FUSED,
        old="SAFE = 60.0",
        new="SAFE = 1e9",
        tests=FROM_LOGITS,
    ),
    Bug(
        name="fused: the rest is 1 - sum",
        file=FUSED,
        old="logits_nV.scatter_(-1, ids_nK, -torch.inf)",
        new="pass",
        tests=FROM_LOGITS + tests("fused", "test_a_rest_that_is_nearly_nothing_keeps_its_digits"),
    ),
    Bug(
        name="fused: the teacher is weighed as the label",
        file=f"{PLUGIN}/criterion.py",
        old="taught_N=weight * share_N",
        new="taught_N=label * share_N",
        tests=tests("fused_criterions", "test_word_level", "test_along_a_sample_there_is_no_label"),
    ),
    Bug(
        name="fused: sampled text counts as a label",
        file=f"{PLUGIN}/criterion.py",
        old='label = 0.0 if sample.get("sampled", False) else 1.0 - weight',
        new="label = 1.0 - weight",
        tests=tests("fused_criterions", "test_along_a_sample_there_is_no_label"),
    ),
    Bug(
        name="fused: both levels have the gate's share",
        file=f"{PLUGIN}/hybrid.py",
        old="share_B=1.0 - gate_B",
        new="share_B=gate_B",
        tests=tests("fused_criterions", "test_hybrid"),
    ),
    Bug(
        name="attention's gradient forgets the scale",
        file=ATTENTION,
        old=".mul_(ctx.scale)",
        new="",
        tests=tests("attention", "test_it_is_torchs_attention_with_its_gradients")
        + tests("transformer", "test_features_and_gradients_are_the_stock_ones"),
    ),
    Bug(
        name="a causal mask lets the next token be seen",
        file=ATTENTION,
        old=".triu_(1)",
        new=".triu_(2)",
        tests=tests("attention", "test_it_is_torchs_attention_with_its_gradients")
        + tests("transformer", "test_features_and_gradients_are_the_stock_ones"),
    ),
    Bug(
        name="dropout does not keep the mean",
        file=DROPOUT,
        old=".mul_(self._scale)",
        new="",
        tests=tests("dropout", "test_values_are_zero_at_the_rate_or_scaled"),
    ),
    Bug(
        name="dropout draws once for all places",
        file=DROPOUT,
        old="        self._place += 1\n",
        new="",
        tests=tests("dropout", "test_places_and_seeds_differ_and_the_same_seed_does_not"),
    ),
    Bug(
        name="a step sums over tokens instead of taking the mean",
        file="src/nmtkd/models/stepping.py",
        old="(float(norm) + NEAR_ZERO)) / size",
        new="(float(norm) + NEAR_ZERO))",
        tests=tests("transformer", "test_a_step_is_the_trainers"),
    ),
]


def red(folder: Path, names: Sequence[str]) -> tuple[int, str]:
    """Runs tests of the copy on the source of the copy: pytest's exit code, and its list of what failed."""
    path = os.pathsep.join([str(folder / "src"), str(folder)])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "NMTKD_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *names]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def plant(folder: Path, bug: Bug) -> str:
    """What came of it: caught by all its tests, MISSED by some, or NOT FOUND."""
    path = folder / bug.file
    text = path.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        return f"NOT FOUND: the text to replace stands {text.count(bug.old)} times in {bug.file}"
    path.write_text(text.replace(bug.old, bug.new), encoding="utf-8")
    code, failed = red(folder, bug.tests)
    path.write_text(text, encoding="utf-8")
    missed = [test for test in bug.tests if not re.search(rf"^FAILED {re.escape(test)}(\[| |$)", failed, re.MULTILINE)]
    if missed:
        return f"MISSED by {', '.join(missed)} (pytest's exit code {code})"
    return f"caught by {', '.join(test.removeprefix('tests/unit/') for test in bug.tests)}"


def main(words: Sequence[str]) -> int:
    """Prints a line a bug."""
    chosen = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, folder / part)
        code, _ = red(folder, sorted({test for bug in chosen for test in bug.tests}))
        print(f"| {'no bug at all':<50} | {'all tests pass' if code == 0 else f'RED, exit code {code}'}", flush=True)
        bad = int(code != 0)
        for bug in chosen:
            outcome = plant(folder, bug)
            bad += not outcome.startswith("caught")
            print(f"| {bug.name:<50} | {outcome}", flush=True)
    print(f"{len(chosen)} bugs, {bad} complaints, {time.monotonic() - began:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
