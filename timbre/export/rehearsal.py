"""Whether a model folder can go the whole road, told in seconds and before anything is spent: its export tried without its weights."""

from pathlib import Path


def check_exportable(folder: Path) -> None:
    """Refuse a folder whose model could not be trained, written with or served.

    Raises:
        ValueError: what is wrong, and the way out, in a sentence.
    """
    from timbre.export.decoder import traced_program
    from timbre.models.rehearsal import check_plain_logits, outline

    with outline(folder) as model:
        if model is not None:
            traced_program(model)
            check_plain_logits(model)
