"""Bugs in the Transformer, its gates, its files, and how its models are asked."""

from tests.bugs import Bug

ATTENTION, DROPOUT = "nmtkd.network.attention", "nmtkd.network.dropout"
UNIT_GATES = "nmtkd.network.unit_gates"
OF_ATTENTION = (
    "test_attention_is_torchs_with_its_gradients",
    "test_features_and_gradients_are_the_stock_ones",
)

BUGS = [
    Bug(
        name="attention's gradient forgets the scale",
        module=ATTENTION,
        where="_Attention.backward",
        old=".mul_(ctx.scale)",
        new="",
        tests=OF_ATTENTION,
    ),
    Bug(
        name="a causal mask lets the next token be seen",
        module=ATTENTION,
        where="_attend_on_cpu",
        old=".triu_(1)",
        new=".triu_(2)",
        tests=OF_ATTENTION,
    ),
    Bug(
        name="dropout does not keep the mean",
        module=DROPOUT,
        where="Dropout._mask",
        old=".mul_(self._scale)",
        new="",
        tests=("test_dropout_zeroes_at_the_rate_and_scales_the_rest",),
    ),
    Bug(
        name="dropout draws once for all places",
        module=DROPOUT,
        where="Dropout._mask",
        old="self._place += 1",
        new="pass",
        tests=("test_dropout_differs_by_place_and_seed_alone",),
    ),
    Bug(
        name="an ensemble is its first member",
        module="nmtkd.network.transformer",
        where="soften",
        old="torch.stack(probs).mean(0)",
        new="probs[0]",
        tests=(
            "test_several_teachers_are_asked_for_their_mean",
            "test_soften_is_the_mean_of_softmax_in_float32",
        ),
    ),
    Bug(
        name="stored targets' teacher in train mode",
        module="nmtkd.network.fairseq_bridge",
        where="load_model",
        old="model.to(device).eval()",
        new="model.to(device).train()",
        tests=("test_load_model_brings_it_back_in_eval_mode", "test_distributions_are_a_direct_softmax"),
    ),
    Bug(
        name="openness counts padding",
        module=UNIT_GATES,
        where="openness",
        old="opened_TBU[(~padding_BT).t()]",
        new="opened_TBU.flatten(0, 1)",
        tests=(
            "test_openness_does_not_count_padding",
            "test_open_units_leave_padding_out",
            "test_budget_is_paid_beside_the_loss_a_token",
        ),
    ),
    Bug(
        name="a cut leaves the second matrix's first columns",
        module=UNIT_GATES,
        where="cut",
        old="after.weight[:, keep_U]",
        new="after.weight[:, :kept]",
        tests=(
            "test_cutting_units_that_say_nothing_changes_nothing",
            "test_trimming_closed_units_changes_no_output",
        ),
    ),
    Bug(
        name="the least open units stay",
        module=UNIT_GATES,
        where="most_open",
        old="descending=True",
        new="descending=False",
        tests=(
            "test_most_open_units_stay_and_one_of_each_block",
            "test_trimming_keeps_the_units_that_are_most_open",
        ),
    ),
    Bug(
        name="a closed unit may open again",
        module=UNIT_GATES,
        where="CLOSED",
        old="-1000.0",
        new="-5.0",
        tests=("test_closed_units_stay_closed_whatever_is_learnt",),
    ),
    Bug(
        name="converter swaps gate and value",
        module="nmtkd.decoding.conversion",
        where="specification",
        old="layer.fc1.value",
        new="layer.fc1.gate",
        tests=("test_gated_models_of_all_kinds_are_the_same_by_both_engines",),
    ),
    Bug(
        name="fairseq leaves out pairs that do not fill eight",
        module="nmtkd.network.fairseq_bridge",
        where="arguments",
        old='"--required-batch-size-multiple", "1"',
        new='"--required-batch-size-multiple", "8"',
        tests=(
            "test_every_pair_is_seen_once_an_epoch_and_once_a_validation",
            "test_arguments_bring_positions_to_model_and_task_and_leave_no_pair_out",
        ),
    ),
    Bug(
        name="positions do not follow the data",
        module="nmtkd.network.fairseq_bridge",
        where="positions_for",
        old="max(LEAST_POSITIONS, 1 << (enough - 1).bit_length())",
        new="LEAST_POSITIONS",
        tests=(
            "test_positions_are_enough_for_twice_the_longest_line",
            "test_positions_follow_the_longest_line_of_the_corpus_or_of_a_training",
            "test_validation_takes_lines_longer_than_a_batch_of_training",
        ),
    ),
    Bug(
        name="no batch holds a long line",
        module="nmtkd.network.fairseq_bridge",
        where="batches",
        old="np.minimum(dataset.num_tokens_vec(indices), max_tokens)",
        new="dataset.num_tokens_vec(indices)",
        tests=(
            "test_batches_of_a_line_longer_than_they_are",
            "test_line_longer_than_a_batch_is_scored_alone",
            "test_long_lines_are_translated_alike_by_both_engines",
        ),
    ),
    Bug(
        name="positions of an ensemble are its last member's",
        module="nmtkd.network.fairseq_bridge",
        where="positions",
        old="return min(min(task",
        new="return max(min(task",
        tests=("test_positions_of_a_folder_are_those_that_all_members_have",),
    ),
    Bug(
        name="a limit beyond the positions is not cut",
        module="nmtkd.decoding.translate",
        where="translations",
        old="min(search.limit(line), most)",
        new="search.limit(line)",
        tests=("test_limit_beyond_the_models_positions_is_cut_by_both_engines",),
    ),
    Bug(
        name="the end of a source has no position",
        module="nmtkd.decoding.translate",
        where="translations",
        old="len(line.split()) + 1",
        new="len(line.split())",
        tests=("test_source_may_have_as_many_tokens_as_there_are_positions",),
    ),
    Bug(
        name="every line of a curve waits for the longest",
        module="nmtkd.decoding.translate",
        where="greedy",
        old="len(line.split()).bit_length()",
        new="len(max(sources, key=len).split()).bit_length()",
        tests=("test_curves_view_has_a_limit_for_each_line",),
    ),
]
