"""nmtkd.plan.layout: where everything lies."""

from pathlib import Path

from nmtkd.plan import layout


def test_places_of_stages_outputs() -> None:
    assert layout.noise_dir("del10") == Path("data/noise/del10")
    assert layout.teacher_dir("del10") == Path("models/teacher/del10")
    assert layout.hypotheses_dir("del10", "beam") == Path("data/hypotheses/del10-beam")
    assert layout.targets_dir("del10", layout.GOLD) == Path("data/targets/del10-gold")
    assert layout.student_dir("word-tiny-clean-1") == Path("models/student/word-tiny-clean-1")
    assert layout.translations_dir("word-tiny-clean-1") == Path("data/translations/word-tiny-clean-1")
    assert layout.result_file("word-tiny-clean-1") == Path("reports/runs/word-tiny-clean-1.json")
    assert layout.teacher_key("del10") == "teacher-del10"
