"""What the bank sent back after a case had ended holds nothing any more: neither of the charge nor
of what the customer may be given.

Late failures were booked back before, and their reservations stood.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE reservations SET state = 'released'
        WHERE state = 'posted' AND case_id IN (
            SELECT case_id FROM case_events
            WHERE kind = 'linked' AND body LIKE '%refund_failed_late%'
        )
        """
    )


def downgrade() -> None:
    raise RuntimeError("the books are never taken back to nothing; restore a backup instead")
