"""How a customer asked, by when they must have a first answer, when they had it, and which case
goes on from which.

Cases that were opened before are told nothing of how they asked, and have no clock; when they
were answered follows from their events, as :mod:`ledger.projection` folds them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cases", sa.Column("channel", sa.Text(), nullable=True))
    op.add_column("cases", sa.Column("first_response_due", sa.String(length=27), nullable=True))
    op.add_column("cases", sa.Column("first_responded_at", sa.String(length=27), nullable=True))
    op.add_column("cases", sa.Column("appeal_of", sa.Text(), nullable=True))
    op.add_column("cases", sa.Column("alternative_to", sa.Text(), nullable=True))
    op.execute(
        """
        UPDATE cases SET first_responded_at = (
            SELECT occurred_at FROM case_events
            WHERE case_events.case_id = cases.case_id AND (
                kind = 'accepted'
                OR (kind = 'closed' AND cases.outcome NOT IN ('withdrawn', 'recorded'))
            )
            ORDER BY ordinal LIMIT 1
        )
        """
    )


def downgrade() -> None:
    raise RuntimeError("the books are never taken back to nothing; restore a backup instead")
