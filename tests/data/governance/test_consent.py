"""Consent fails closed: what is not clearly permitted is not used, and every row is counted once."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialsim.data import read_table
from trialsim.data.governance.consent import permitted
from trialsim.data.governance.withdrawn import add_withdrawn, withdrawn_path
from trialsim.errors import DataError

TODAY = date(2026, 6, 15)
ROWS = """\
a,40,1,2027-01-01,DE
b,41,yes,2026-06-15,de
c,42,0,2027-01-01,DE
d,43,deny,,
e,44,,2027-01-01,DE
f,45,perhaps,2027-01-01,DE
g,46,true,2026-06-14,DE
h,47,permit,,DE
i,48,1,2027-13-01,DE
j,49,1,soon,DE
k,50,1,2027-01-01,FR
l,51,1,2027-01-01,
"""


def test_only_what_is_clearly_permitted(written):
    table = written(ROWS)
    found = permitted(table, "simulate", on=TODAY, jurisdictions={"DE"})
    assert [person for person, row in zip(table.text["pid"], found.rows, strict=True) if row] == ["a", "b"]
    assert (found.denied, found.unknown, found.expired, found.other_jurisdiction, found.withdrawn) == (2, 6, 1, 1, 0)
    assert found.summary() == "2 of 12 rows are permitted for simulate (2 denied, 6 unknown, 1 expired, 1 of another jurisdiction)"


def test_without_jurisdictions_any_will_do(written):
    table = written(ROWS)
    found = permitted(table, "simulate", on=TODAY)
    assert [table.text["pid"][row] for row in np.flatnonzero(found.rows)] == ["a", "b", "k", "l"]


def test_a_row_that_denies_is_never_read(written):
    """Denied rows hold values that would move any fit; nothing of them is in what is handed on."""
    table = written("".join(f"{n},{40 + n % 7},1,2030-01-01,DE\n" if n % 3 else f"{n},1e9,0,2030-01-01,DE\n" for n in range(60)))
    kept = permitted(table, "simulate", on=TODAY).apply(table)
    assert table.columns["age"].mean() > 1e8
    assert kept.columns["age"].max() < 50
    assert kept.n == 40
    assert not {table.text["pid"][row] for row in range(0, 60, 3)} & set(kept.text["pid"])
    assert kept.rows.tolist() == [n for n in range(60) if n % 3]


def test_a_level_that_only_denied_rows_have_is_not_handed_on(written, card):
    card = card.replace("{type: continuous, unit: years}", "{type: categorical}")
    table = written("a,x,1,2030-01-01,DE\nb,secret,0,2030-01-01,DE\nc,z,1,2030-01-01,DE\nd,,1,2030-01-01,DE\n", card)
    kept = permitted(table, "simulate", on=TODAY).apply(table)
    assert kept.levels["age"] == ("x", "z")
    assert kept.columns["age"][:2].tolist() == [0, 1]
    assert np.isnan(kept.columns["age"][2])
    assert table.levels["age"] == ("secret", "x", "z")
    declared = written("a,x,1,2030-01-01,DE\nb,y,0,2030-01-01,DE\n", card.replace("{type: categorical}", "{type: categorical, levels: [y, x]}"))
    assert permitted(declared, "simulate", on=TODAY).apply(declared).levels["age"] == ("y", "x")


_NO_DAYS = ["2030-01-01 REVOKED", "2030-01-01?", "2030-01-01 to be confirmed", "2030-01-01T", "today", "never"]


@pytest.mark.parametrize("until", [*_NO_DAYS, "2030"])
def test_an_expiry_with_more_than_a_day_in_it_permits_nothing(written, until):
    assert permitted(written(f"a,40,1,{until},DE\n"), "simulate", on=TODAY).unknown == 1


@pytest.mark.parametrize("until", _NO_DAYS)
def test_a_column_of_dates_holds_nothing_else(written, card, until):
    with pytest.raises(DataError, match="is not a date"):
        written(f"a,40,1,{until},DE\n", card.replace("until: {type: text", "until: {type: date"))


def test_an_expiry_with_a_time_is_its_day(written):
    table = written("a,40,1,2026-06-15T00:00:00Z,DE\nb,40,1,2026-06-14 23:59,DE\n")
    assert permitted(table, "simulate", on=TODAY).rows.tolist() == [True, False]


def test_a_purpose_without_column_is_permitted_by_nobody(written):
    found = permitted(written(ROWS), "train", on=TODAY)
    assert (found.n_permitted, found.unknown) == (0, 12)


def test_that_no_row_may_be_used_is_an_error_where_rows_are_needed(written):
    table = written("a,40,0,2027-01-01,DE\n")
    with pytest.raises(DataError, match=r"clinic.csv  no row may be used: 0 of 1 rows are permitted for simulate \(1 denied\)"):
        permitted(table, "simulate", on=TODAY).apply(table)


def test_a_purpose_that_the_card_does_not_name(written):
    with pytest.raises(DataError, match=r'c\.yaml  purposes: the card "clinic" does not permit the purpose "commercial"'):
        permitted(written(ROWS), "commercial", on=TODAY, card_file="c.yaml")


def test_without_a_consent_section_the_purposes_decide(written):
    card = CARD_WITHOUT
    found = permitted(written("a,40\nb,41\n,42\n", card, header="pid,age"), "simulate", on=TODAY)
    assert (found.n_permitted, found.by_row) == (3, False)
    with pytest.raises(DataError, match=r"consent\.jurisdiction"):
        permitted(written("a,40\n", card, header="pid,age"), "simulate", on=TODAY, jurisdictions=["DE"])


CARD_WITHOUT = "id: c\ntitle: c\nsource: c\nlicence: CC0\npurposes: [simulate]\ncolumns:\n  pid: {type: text, role: id}\n"


@pytest.mark.parametrize("kind, yes, no", [("binary", "1", "0"), ("integer", "1", "0"), ("categorical", "yes", "no"), ("text", " TRUE ", "False")])
def test_consent_in_columns_of_any_type(written, kind, yes, no):
    card = CARD_WITHOUT.replace("simulate", "train") + f"  ok: {{type: {kind}, role: consent}}\nconsent: {{columns: {{train: ok}}}}\n"
    found = permitted(written(f"a,{yes}\nb,{no}\nc,\n", card, header="pid,ok"), "train", on=TODAY)
    assert found.rows.tolist() == [True, False, False]
    assert (found.denied, found.unknown) == (1, 1)


def test_levels_are_read_as_words_and_not_as_first_and_second(written):
    card = CARD_WITHOUT + "  ok: {type: binary, levels: [permit, deny], role: consent}\nconsent: {columns: {simulate: ok}}\n"
    assert permitted(written("a,permit\nb,deny\n", card, header="pid,ok"), "simulate", on=TODAY).rows.tolist() == [True, False]


@pytest.mark.parametrize("value", ["2", "-1", "0.5", "9"])
def test_a_number_that_is_neither_1_nor_0_permits_nothing(written, value):
    card = CARD_WITHOUT + "  ok: {type: text, role: consent}\nconsent: {columns: {simulate: ok}}\n"
    assert permitted(written(f"a,{value}\n", card, header="pid,ok"), "simulate", on=TODAY).unknown == 1


def test_dates_as_dates(written):
    card = CARD_WITHOUT + "  ok: {type: binary, role: consent}\n  to: {type: date, role: consent}\nconsent: {columns: {simulate: ok}, expiry: to}\n"
    rows = "a,1,2026-06-14\nb,1,2026-06-15\nc,1,\nd,1,9999-12-31\n"
    assert permitted(written(rows, card, header="pid,ok,to"), "simulate", on=TODAY).rows.tolist() == [False, True, False, True]


def test_deny_wins_among_rows_of_one_person_and_a_row_of_nobody_permits_nothing(written):
    table = written("a,40,1,2030-01-01,DE\na,41,0,2030-01-01,DE\n,42,1,2030-01-01,DE\nb,43,1,2030-01-01,DE\n")
    found = permitted(table, "simulate", on=TODAY)
    assert found.rows.tolist() == [False, False, False, True]
    assert (found.denied, found.unknown) == (2, 1)


def test_who_has_withdrawn_is_never_permitted(written):
    table = written(ROWS)
    add_withdrawn(withdrawn_path(table.path), ["a", "c", "nobody"], on=TODAY)
    found = permitted(table, "simulate", on=TODAY)
    assert [table.text["pid"][row] for row in np.flatnonzero(found.rows)] == ["b", "k", "l"]
    assert (found.withdrawn, found.denied) == (2, 1)


def test_withdrawal_holds_without_consent_columns_too_and_rows_of_nobody_are_left_out(written):
    table = written("a,40\nb,41\n,42\n", CARD_WITHOUT, header="pid,age")
    add_withdrawn(withdrawn_path(table.path), ["b"], on=TODAY)
    assert permitted(table, "simulate", on=TODAY).rows.tolist() == [True, False, False]


def test_a_link_to_the_data_does_not_hide_the_list(written, tmp_path):
    table = written(ROWS)
    add_withdrawn(withdrawn_path(table.path), ["a"], on=TODAY)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.csv").symlink_to(table.path)
    assert permitted(read_table(tmp_path / "elsewhere" / "link.csv", table.card), "simulate", on=TODAY).withdrawn == 1


def test_a_withdrawal_list_and_no_identifiers(written):
    table = written("40\n", CARD_WITHOUT.split("columns")[0], header="age")
    add_withdrawn(withdrawn_path(table.path), ["b"], on=TODAY)
    with pytest.raises(DataError, match="1 persons have withdrawn, but the card gives no column the role id"):
        permitted(table, "simulate", on=TODAY)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "trialsim.withdrawn/1", "salt": "", "persons": []}', '{"schema": "trialsim.withdrawn/2", "salt": "00", "persons": []}']
)
def test_a_withdrawal_list_that_cannot_be_read_permits_nothing(written, text):
    table = written(ROWS)
    withdrawn_path(table.path).write_text(text)
    with pytest.raises(DataError, match="withdrawal list"):
        permitted(table, "simulate", on=TODAY)


def test_two_columns_of_identifiers_are_ambiguous(written):
    card = CARD_WITHOUT + "  site: {type: text, role: id}\n  ok: {type: binary, role: consent}\nconsent: {columns: {simulate: ok}}\n"
    with pytest.raises(DataError, match="pid, site all have the role id"):
        permitted(written("a,s,1\n", card, header="pid,site,ok"), "simulate", on=TODAY)


def test_identifiers_that_numbers_cannot_hold(written):
    card = CARD_WITHOUT.replace("text", "integer") + "  ok: {type: binary, role: consent}\nconsent: {columns: {simulate: ok}}\n"
    with pytest.raises(DataError, match="too long for numbers"):
        permitted(written("12345678901234567,1\n12345678901234568,1\n", card, header="pid,ok"), "simulate", on=TODAY)


cells = st.sampled_from(["1", "0", "", "yes", "no", "TRUE", "maybe", "2", "permit ", "deny"])
days = st.sampled_from(["2026-06-14", "2026-06-15", "2099-01-01", "", "x", "2026-02-30", "20260616", "2026-06-16T00:00:00Z"])
places = st.sampled_from(["DE", "fr", "", "GB"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cells, days, places), min_size=1, max_size=30))
def test_every_row_is_counted_once_and_agrees_with_a_reading_of_one_row(written, rows):
    table = written("".join(f"p{n},1,{cell},{day},{place}\n" for n, (cell, day, place) in enumerate(rows)))
    found = permitted(table, "simulate", on=TODAY, jurisdictions=["de", "GB"])
    assert found.n_permitted + found.withdrawn + found.denied + found.unknown + found.expired + found.other_jurisdiction == found.n_rows == len(rows)
    assert found.rows.tolist() == [_alone(*row) for row in rows]


def _alone(cell: str, day: str, place: str) -> bool:
    """One row, read plainly."""
    try:
        valid = date.fromisoformat(day[:10]) >= TODAY
    except ValueError:
        valid = False
    return cell.strip().lower() in ("1", "true", "yes", "permit") and valid and place in ("DE", "GB")


def test_the_hash_tells_which_rows_and_which_purpose(written):
    one, other = permitted(written(ROWS), "simulate", on=TODAY), permitted(written(ROWS), "simulate", on=date(2026, 6, 16))
    assert one.sha256() != other.sha256()
    assert one.sha256() == permitted(written(ROWS), "simulate", on=TODAY).sha256()
    assert other.n_permitted == one.n_permitted - 1  # b's last day was the 15th
