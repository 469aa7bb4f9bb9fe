"""nmtkd.training.curve: a row is of all tokens since the row before."""

from nmtkd.training.curve import Curve


def test_training_loss_is_a_mean_over_tokens() -> None:
    curve = Curve()
    curve.note({"loss": 1.0, "ntokens": 10, "nsentences": 2})
    curve.note({"loss": 4.0, "ntokens": 30, "nsentences": 2, "gate": 0.5})
    told = curve.add(update=2, epoch=1, valid_loss=2.5, valid_bleu=None, target_tokens=40)
    curve.note({"loss": 2.0, "ntokens": 5, "nsentences": 4, "gate": 3.0})
    curve.add(update=3, epoch=2, valid_loss=2.25, valid_bleu=7.5, target_tokens=45)
    assert curve.rows == [
        [2, 1, 3.25, 2.5, None, 40, 0.25, None],
        [3, 2, 2.0, 2.25, 7.5, 45, 0.75, None],
    ]
    assert told == "update 2: train loss 3.250, valid loss 2.500, gate 0.25"
