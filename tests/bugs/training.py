"""Bugs in criterions, in what reaches them, and in the loop around them."""

from tests.bugs import Bug

CRITERIONS = "nmtkd.training.criterions"
DISTILLATION, HYBRID, ONLINE, CONSISTENCY = (
    f"{CRITERIONS}.{name}" for name in ("distillation", "hybrid", "online", "consistency")
)
DATASET, LOOP = "nmtkd.training.dataset", "nmtkd.training.loop"
ALONG_SAMPLES = "test_teachers_term_is_all_along_samples"
FROM_DISK = "test_teacher_in_memory_says_what_it_said_to_the_disk"
KILLED = "test_killed_hybrid_of_gated_units_goes_on_as_if_nothing_were"

BUGS = [
    Bug(
        name="online ranking reads the dictionary's first token",
        module=ONLINE,
        where="OnlineCriterion.asked",
        old="if self.method.ranking is not None else None",
        new="if False else None",
        tests=(FROM_DISK,),
    ),
    Bug(
        name="a and 1 - a swapped",
        module=DISTILLATION,
        where="DistillationCriterion.by_token",
        old="(1.0 - weight) * ce_N + weight * term_N",
        new="weight * ce_N + (1.0 - weight) * term_N",
        tests=("test_distillation_loss_by_hand", "test_distillations_gradient_is_that_of_both_parts"),
    ),
    Bug(
        name="sampled text counts as a label",
        module=DISTILLATION,
        where="DistillationCriterion.by_token",
        old='sample.get("sampled", False)',
        new="False",
        tests=(ALONG_SAMPLES,),
    ),
    Bug(
        name="validation has a teacher's term",
        module=DISTILLATION,
        where="DistillationCriterion.compute_loss",
        old="not self.training or self.method.teacher_weight == 0.0",
        new="self.method.teacher_weight == 0.0",
        tests=("test_validation_has_no_teacher_term", "test_validation_is_the_stock_loss"),
    ),
    Bug(
        name="targets follow the order of sampling",
        module=DATASET,
        where="TokenTargetsDataset.collater",
        old='zip(batch["id"].tolist(), positions',
        new='zip([one["id"] for one in samples], positions',
        tests=("test_targets_follow_their_lines_into_a_batch",),
    ),
    Bug(
        name="hypotheses follow the order of sampling",
        module=DATASET,
        where="HypothesesDataset.collater",
        old='in batch["id"].tolist()',
        new='in [one["id"] for one in samples]',
        tests=("test_hypotheses_follow_their_lines_into_a_batch",),
    ),
    Bug(
        name="online teacher in train mode",
        module=ONLINE,
        where="OnlineCriterion.teachers",
        old="teacher.to(device).eval()",
        new="teacher.to(device).train()",
        tests=("test_teacher_is_asked_without_dropout_and_without_gradient", FROM_DISK),
    ),
    Bug(
        name="student stays in eval mode after sampling",
        module=ONLINE,
        where="OnlineCriterion.sampled",
        old="model.train()",
        new="pass",
        tests=(ALONG_SAMPLES,),
    ),
    Bug(
        name="the task does not say which update it is",
        module="nmtkd.training.task",
        where="DistillationTask.train_step",
        old="criterion.num_updates = update_num",
        new="pass",
        tests=("test_budget_is_paid_beside_the_loss_a_token",),
    ),
    Bug(
        name="a killed training forgets what its gates did",
        module=LOOP,
        where="Run.resume",
        old='self.adaptive.facts = state["gates"]',
        new="pass",
        tests=(KILLED,),
    ),
    Bug(
        name="a killed training forgets its gate",
        module=LOOP,
        where="Run.resume",
        old='self.trainer.get_criterion().load_state_dict(state["criterion"])',
        new="pass",
        tests=(KILLED,),
    ),
    Bug(
        name="cut-off embeddings stay cut off",
        module=CONSISTENCY,
        where="cut_off",
        old="hook.remove()",
        new="pass",
        tests=("test_cutting_off_everything_leaves_positions_alone",),
    ),
    Bug(
        name="consistency counts padding",
        module=CONSISTENCY,
        where="kl",
        old="* real_BT1",
        new="",
        tests=("test_disagreement_by_hand", "test_consistency_of_a_batch_is_the_sum_of_its_sentences"),
    ),
    Bug(
        name="chunked: the teacher is weighed as the label",
        module=DISTILLATION,
        where="DistillationCriterion.positions",
        old="teacher_weight_N=weight * share_N",
        new="teacher_weight_N=label * share_N",
        tests=("test_word_level_without_logits", "test_sample_without_logits_has_no_label"),
    ),
    Bug(
        name="chunked: sampled text counts as a label",
        module=DISTILLATION,
        where="DistillationCriterion.positions",
        old='0.0 if sample.get("sampled", False) else 1.0 - weight',
        new="1.0 - weight",
        tests=("test_sample_without_logits_has_no_label",),
    ),
    Bug(
        name="chunked: both levels have the gate's share",
        module=HYBRID,
        where="HybridCriterion.forward",
        old="share_B=1.0 - gate_B",
        new="share_B=gate_B",
        tests=("test_hybrid_without_logits",),
    ),
    Bug(
        name="a step sums over tokens instead of taking the mean",
        module="nmtkd.training.step",
        where="Stepper._scale",
        old="(float(norm) + NEAR_ZERO)) / size",
        new="(float(norm) + NEAR_ZERO))",
        tests=("test_step_is_the_trainers",),
    ),
]
