"""The relay's two statements that every prediction passes on its way to Kafka, for PostgreSQL: claim a batch, mark it as sent.

Through SQLAlchemy a claim is seven round trips and a mark five, and after each batch the relay makes a claim more, in vain: where
predictions are submitted one by one that is most of what it does, between a submit and its result and right behind.

`claim_statement` is to run with the claims' lock taken before it, in the same transaction: it must see what the claim before it
has committed, as no intent may overtake one of its key that another slot has.
"""

from functools import lru_cache

from penstock_transformer.predictions.database.tables import intents, predictions, relay_slots

_p = predictions.c
INTENT = (
    _p.id, _p.model, _p.sequence, _p.record_key, _p.headers, _p.created_s,
    _p.input_body, _p.input_headers, _p.input_nbytes, _p.input_reference,
)  # fmt: skip

_LISTED = ", ".join(f"p.{column.name}" for column in INTENT)
_P, _I, _S = predictions.name, intents.name, relay_slots.name
_HELD = f"held AS (SELECT name, batch, pending FROM {_S} WHERE name = $1 AND epoch = $2 FOR UPDATE)"


@lru_cache(maxsize=8)
def claim_statement(records: int, nbytes: int) -> str:
    """$1 slot, $2 epoch, $3 the batch it was at, $4 the batch to claim, $5 models to avoid -> rows of the slot's batch and
    pending as they were before, then of `INTENT`, all NULL where nothing was claimed. No row: the slot is another's.
    """
    return (
        f"WITH {_HELD}, free AS (SELECT name FROM held WHERE NOT pending AND batch = $3), "
        f"head AS (SELECT i.sequence, i.nbytes FROM {_I} AS i WHERE i.holder IS NULL AND NOT i.model = ANY ($5::text[]) "
        f"AND NOT EXISTS (SELECT FROM {_I} AS o WHERE o.holder <> $1 AND o.model = i.model AND o.record_key = i.record_key) "
        f"ORDER BY i.sequence LIMIT {records:d}), "
        "sized AS (SELECT sequence, nbytes, sum(nbytes) OVER (ORDER BY sequence) AS total FROM head), "
        # Arrays where a join would do: the planner, who does not know how few rows that are, might compare all with all.
        f"taken AS (UPDATE {_I} AS i SET holder = $1, batch = $4 FROM free WHERE i.holder IS NULL AND i.sequence = ANY "
        f"(ARRAY(SELECT sequence FROM sized WHERE total = nbytes OR total <= {nbytes:d})) RETURNING i.sequence), "
        f"noted AS (UPDATE {_S} AS s SET batch = $4, pending = true FROM free WHERE s.name = free.name "
        "AND EXISTS (SELECT FROM taken)) "
        f"SELECT held.batch, held.pending, {_LISTED} FROM held "
        f"LEFT JOIN {_P} AS p ON p.sequence = ANY (ARRAY(SELECT sequence FROM taken)) ORDER BY p.sequence"
    )


MARK_STATEMENT = (
    f"WITH {_HELD}, mine AS (SELECT name FROM held WHERE pending AND batch = $3), "
    f"gone AS (DELETE FROM {_I} AS i USING mine WHERE i.holder = mine.name AND i.batch = $3 RETURNING 1), "
    f"noted AS (UPDATE {_S} AS s SET pending = false FROM mine WHERE s.name = mine.name) "
    "SELECT (SELECT count(*) FROM gone) FROM held"
)
"""$1 slot, $2 epoch, $3 batch -> one row: how many intents are gone. No row: the slot is another's."""
