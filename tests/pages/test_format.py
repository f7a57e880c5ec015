"""Every number and time as a person reads it, by hand-computed examples."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ui import format as fmt

NOW = datetime(2026, 11, 22, 14, 2, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minor", "currency", "exponent", "shown"),
    [
        (123456, "EUR", 2, "€1,234.56"),
        (5, "EUR", 2, "€0.05"),
        (-1050, "USD", 2, "\N{MINUS SIGN}$10.50"),
        (1500, "JPY", 0, "¥1,500"),
        (1234567, "KWD", 3, "KWD 1,234.567"),
        (None, "EUR", 2, "\N{EN DASH}"),
    ],
)
def test_money_carries_currency_thousands_and_its_own_decimals(
    minor: int | None, currency: str, exponent: int, shown: str
) -> None:
    assert fmt.money(minor, currency, exponent) == shown


@pytest.mark.parametrize(
    ("minor", "shown"),
    [(99_900, "€999"), (999_900, "€9,999"), (1_560_000, "€15.6k"), (124_000_000, "€1.24M"), (None, "\N{EN DASH}")],
)
def test_headline_money_keeps_three_or_four_digits(minor: int | None, shown: str) -> None:
    assert fmt.money_short(minor) == shown


def test_totals_are_in_the_currency_of_the_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "_totals", fmt._totals)
    assert (fmt.money_short(1_234_567), fmt.symbol(), fmt.units(250)) == ("€12.3k", "€", 2.5)
    fmt.speak_of("JPY", 0)
    assert (fmt.money_short(1_234_567), fmt.money(5), fmt.units(250)) == ("¥1.23M", "¥5", 250)
    assert fmt.money(1_234, "EUR", 2) == "€12.34"  # a payment's own
    fmt.speak_of("", 2)
    assert (fmt.money_short(123_456), fmt.symbol()) == ("1,235", "")


def test_rates_carry_their_unit_and_absence_is_never_zero() -> None:
    assert fmt.bps(12.34) == "12.3 bps"
    assert fmt.bps(None) == "\N{EN DASH}"
    assert fmt.percent(0.1234) == "12.3 %"
    assert fmt.score(None) == "Not scored"
    assert fmt.score(0.0) == "0.000"


def test_differences_are_signed_and_nothing_is_neither_up_nor_down() -> None:
    assert fmt.signed(1.25, digits=1, unit="bps") == "+1.2 bps"
    assert fmt.signed(-0.44, unit="bps") == "\N{MINUS SIGN}0.4 bps"
    assert fmt.signed(0.04, unit="bps") == "±0.0 bps"
    assert fmt.change(110, 100) == "+10.0 %"
    assert fmt.change(110, 0) is None


def test_times_are_relative_with_the_exact_moment_at_hand() -> None:
    assert fmt.relative(NOW - timedelta(minutes=12), NOW) == "12 min ago"
    assert fmt.relative(NOW + timedelta(hours=3), NOW) == "in 3 h"
    assert fmt.relative(NOW - timedelta(seconds=2), NOW) == "just now"
    assert fmt.utc(NOW) == "2026-11-22 14:02:11 UTC"
    assert fmt.clock(NOW, NOW) == "14:02 UTC"
    assert fmt.clock(NOW - timedelta(days=1), NOW, seconds=True) == "21 Nov 14:02:11 UTC"


def test_a_due_time_says_what_is_left_or_how_late_it_is() -> None:
    assert fmt.due(NOW + timedelta(minutes=47), NOW) == "in 47 min"
    assert fmt.due(NOW - timedelta(minutes=41), NOW) == "overdue 41 min"


def test_counts_at_their_cap_are_lower_bounds() -> None:
    assert fmt.count(9_999, cap=10_000) == "9,999"
    assert fmt.count(10_000, cap=10_000) == "10,000+"


def test_ids_lose_their_middle() -> None:
    assert fmt.short_id("txn_ce6ba18b8ad12fc9") == "txn_ce6ba…2fc9"
    assert len(fmt.short_id("txn_ce6ba18b8ad12fc9")) == 14
    assert fmt.short_id("short") == "short"


def test_markdown_in_data_is_inert() -> None:
    assert fmt.literal("<b>*x*</b>\n:red[y]") == r"\<b\>\*x\*\<\/b\> \:red\[y\]"
