"""When a device that counts activity was not worn: runs of zeros, by gaps and islands in SQL."""

from __future__ import annotations

from trialsim.data.sources.wearable.measures import NonWear


def worn_minutes(rule: NonWear, minutes: str) -> str:
    """A query of the rows of `minutes` in which the device was worn.

    `minutes` is a table with `person`, `minute` (whole minutes since an epoch, each at most once) and `value` (counts). A
    minute without a row is not worn and interrupts every run. Runs of one kind become islands; a short island of counts
    between two long enough islands of zeros joins them; what is then at least `window` long was not worn.
    """
    return f"""
        WITH marked AS (
            SELECT person, minute, value = 0 AS zero, minute - row_number() OVER (PARTITION BY person, value = 0 ORDER BY minute) AS island FROM {minutes}
        ), runs AS (
            SELECT person, zero, min(minute) AS first, max(minute) AS last, count(*) AS n FROM marked GROUP BY person, zero, island
        ), beside AS (
            SELECT *, zero OR (n <= {rule.allowance} AND coalesce(
                lag(zero) OVER sides AND lag(last) OVER sides = first - 1 AND lag(n) OVER sides >= {rule.around}
                AND lead(zero) OVER sides AND lead(first) OVER sides = last + 1 AND lead(n) OVER sides >= {rule.around}, false)) AS quiet
            FROM runs WINDOW sides AS (PARTITION BY person ORDER BY first)
        ), followed AS (
            SELECT *, coalesce(lag(last) OVER (PARTITION BY person ORDER BY first) = first - 1, false) AS follows FROM beside WHERE quiet
        ), joined AS (
            SELECT *, sum(CASE WHEN follows THEN 0 ELSE 1 END) OVER (PARTITION BY person ORDER BY first) AS run FROM followed
        ), off AS (
            SELECT person, min(first) AS first, max(last) AS last FROM joined GROUP BY person, run HAVING sum(n) >= {rule.window}
        )
        SELECT m.* FROM {minutes} m ASOF LEFT JOIN off ON off.person = m.person AND m.minute >= off.first
        WHERE off.last IS NULL OR m.minute > off.last"""
