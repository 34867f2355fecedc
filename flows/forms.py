"""What the forms of several flows share on Prefect's page."""

from typing import Annotated

from pydantic import Field

from timbre.corpus.sources import style_paths

Style = Annotated[str, Field(json_schema_extra={"enum": sorted(style_paths())})]
"""A style from the list as it stood when the flow was deployed; `timbre deploy` renews it after `timbre corpus add`."""
