"""Bugs that make arms of a grid unequal: what they see when, batches in parts, what cards say of it."""

from tests.bugs import Bug
from tests.bugs.training import ALONG_SAMPLES, DATASET, DISTILLATION, KILLED, LOOP, ONLINE, STEP, TEXTS

BATCHES = "nmtkd.training.batches"
SAME_PAIRS = "test_all_arms_see_the_same_pairs_in_the_same_updates"
IN_PARTS = "test_update_in_parts_is_that_of_the_whole_batch"

BUGS = [
    Bug(
        name="batches are cut by an arm's own lengths",
        module=TEXTS,
        where="load",
        old="data.lengths, cfg.max_tokens, lazy",
        new='task.dataset("train").sizes, cfg.max_tokens, lazy',
        tests=(SAME_PAIRS, "test_text_of_an_arm_may_be_longer_than_a_batch"),
    ),
    Bug(
        name="a line's length is that of an arm's own text",
        module=TEXTS,
        where="load",
        old="int(data.lengths[line, side])",
        new='int(task.dataset("train").sizes.max())',
        tests=("test_text_of_an_arm_may_be_longer_than_a_batch",),
    ),
    Bug(
        name="lengths of other pairs are taken",
        module=TEXTS,
        where="Data.__post_init__",
        old="self.lengths.shape != wanted",
        new="False",
        tests=("test_lengths_of_other_pairs_are_refused",),
    ),
    Bug(
        name="a batch is whole, however long an arm's text",
        module=BATCHES,
        where="EqualBatches._parts",
        old="lengths.max() * len(samples) <= self.max_tokens",
        new="True",
        tests=("test_batch_is_in_parts_that_fit", SAME_PAIRS),
    ),
    Bug(
        name="parts forget the translations beside gold",
        module=DATASET,
        where="HypothesesDataset.num_tokens",
        old="int(max(self.dataset.num_tokens(index), self.hypotheses.num_tokens(index)))",
        new="int(self.dataset.num_tokens(index))",
        tests=("test_hypotheses_count_for_the_size_of_a_part",),
    ),
    Bug(
        name="a batch's size is that of its last part",
        module=STEP,
        where="Stepper._summed",
        old="log.get(name, 0) + value",
        new="value",
        tests=(IN_PARTS,),
    ),
    Bug(
        name="each part has a budget of its own",
        module=STEP,
        where="Stepper._summed",
        old="criterion.looking_ahead(several)",
        new="criterion.looking_ahead(False)",
        tests=(IN_PARTS,),
    ),
    Bug(
        name="looking ahead changes dropout",
        module=STEP,
        where="Stepper._parts",
        old="self._trainer._set_seed()",
        new="pass",
        tests=("test_parts_draw_what_they_would_draw_without_looking_ahead",),
    ),
    Bug(
        name="each part draws whether it is sampled",
        module=ONLINE,
        where="draw",
        old="torch.rand((), generator=torch.Generator().manual_seed(torch.initial_seed()))",
        new="torch.rand(())",
        tests=("test_sampled_batches_are_a_share_from_an_update_on", ALONG_SAMPLES),
    ),
    Bug(
        name="all tokens of a sample are the hardest",
        module=DISTILLATION,
        where="DistillationCriterion.by_token",
        old="if self.method.hardest is not None:",
        new='if self.method.hardest is not None and not sample.get("sampled", False):',
        tests=("test_hardest_of_the_sampled_tokens_alone_learn",),
    ),
    Bug(
        name="a killed training forgets what it saw",
        module=LOOP,
        where="Run.resume",
        old='Seen(**state["seen"])',
        new="self.seen",
        tests=(KILLED,),
    ),
    Bug(
        name="padding counts among the tokens seen",
        module=STEP,
        where="Stepper._summed",
        old='int(part["net_input"]["src_lengths"].sum())',
        new='part["net_input"]["src_tokens"].numel()',
        tests=("test_card_says_what_a_training_saw",),
    ),
    Bug(
        name="of several trainings the last one counts",
        module="nmtkd.training.trained",
        where="Seen.__add__",
        old="getattr(self, name) + getattr(other, name)",
        new="getattr(other, name)",
        tests=(
            "test_several_trainings_saw_what_all_of_them_saw",
            "test_best_of_several_says_what_all_of_them_saw",
            "test_ensembles_card_says_what_all_its_members_saw",
        ),
    ),
    Bug(
        name="each process has a budget of its own",
        module="nmtkd.training.criterions.cross_entropy",
        where="CrossEntropyCriterion.looking_ahead",
        old="in processes.gather(seen)",
        new="in processes.gather(seen)[:1]",
        tests=("test_two_processes_train_what_one_trains",),
    ),
    Bug(
        name="every process computes all batches",
        module="nmtkd.processes",
        where="share",
        old="[number() :: count()]",
        new="[:]",
        tests=("test_two_processes_train_what_one_trains",),
    ),
]
