"""An arm looks the same in every figure, and no two arms of a figure look alike."""

from bnexp.report.style import KNOWN, arm_styles


def test_the_usual_arms_keep_their_look_in_any_company() -> None:
    styles = arm_styles(["x", "after", "y", "none", "before"])
    assert {arm: styles[arm] for arm in KNOWN} == KNOWN
    assert arm_styles(["none", "x", "y"])["y"] == styles["y"]


def test_arms_keep_their_order() -> None:
    assert list(arm_styles(["b", "none", "a"])) == ["b", "none", "a"]


def test_twenty_other_arms_can_be_told_apart() -> None:
    styles = arm_styles([*KNOWN, *(f"arm{i}" for i in range(20))])
    assert len(set(styles.values())) == 23
