"""Links that chain the rows of each kind by hash. Rows of before get theirs when their model is next written."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    """Make the table of links."""
    op.create_table(
        "links",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("row", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.UniqueConstraint("model", "kind", "number"),
        sa.UniqueConstraint("model", "kind", "row"),
        if_not_exists=True,
    )
    op.create_index("ix_links_model", "links", ["model"], if_not_exists=True)
