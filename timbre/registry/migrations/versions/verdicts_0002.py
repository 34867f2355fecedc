"""Every verdict that was reached."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Make the table of verdicts."""
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("verdict", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("policy", sa.String(100), nullable=False),
        sa.Column("wording", sa.String(64), nullable=False),
        sa.Column("strictness", sa.Integer, nullable=False),
        sa.Column("bundle", sa.String(64), nullable=False),
        sa.Column("candidate", sa.String(64), nullable=False),
        sa.Column("base", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("model", "verdict"),
        if_not_exists=True,
    )
    op.create_index("ix_verdicts_model", "verdicts", ["model"], if_not_exists=True)
    op.create_index("ix_verdicts_bundle", "verdicts", ["bundle"], if_not_exists=True)
