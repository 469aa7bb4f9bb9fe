"""fairseq's own command line takes our options (`fairseq-train --user-dir src/nmtkd_fairseq`)."""

from typing import Any

import pytest
from fairseq import options

import nmtkd_fairseq  # noqa: F401  what --user-dir imports

COMMAND = [
    "DATA",
    "--task",
    "distillation",
    "--token-targets",
    "FOLDER",
    "--arch",
    "gated_transformer",
    "--encoder-units",
    "3,5",
]


@pytest.mark.parametrize(
    ("criterion", "given", "wanted"),
    [
        ("distillation", ["--method", "{}", "--temperature", "2.0"], {"method": "{}", "temperature": 2.0}),
        ("hybrid_distillation", ["--gate", "0.25", "--width", "64"], {"gate": 0.25, "width": 64}),
        (
            "online_distillation",
            ["--teachers", "a.pt:b.pt", "--method", "{}"],
            {"teachers": "a.pt:b.pt", "method": "{}"},
        ),
        ("chunked_cross_entropy", ["--unit-gates", "{}"], {"unit_gates": "{}"}),
        (
            "consistency_regularised_cross_entropy",
            ["--kind", "simcut", "--cutoff", "0.05"],
            {"kind": "simcut", "cutoff": 0.05},
        ),
    ],
)
def test_options_of_criterions_have_names_and_types(
    criterion: str, given: list[str], wanted: dict[str, Any]
) -> None:
    parsed = options.parse_args_and_arch(
        options.get_training_parser(), [*COMMAND, "--criterion", criterion, *given]
    )
    assert {name: getattr(parsed, name) for name in wanted} == wanted
    assert (parsed.token_targets, parsed.encoder_units, parsed.hypotheses) == ("FOLDER", "3,5", False)
