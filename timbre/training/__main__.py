"""Train one adapter in a process of its own: `python -m timbre.training REQUEST.json`.

REQUEST.json: {"config": {…TrainingConfig…}, "inputs": {"target": digest, "corpus": digest, "model": digest, "replay": path},
"home": path}. The last line on stdout is the artifact's digest. Ended at any moment, the same command goes on at the last
checkpoint. Exit codes: 2 wrong request or input, 6 damaged data.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from timbre.artifacts import ArtifactStore, FileInput, IntegrityError
from timbre.config import TrainingConfig
from timbre.training.stage import train_adapter


def main(arguments: Sequence[str]) -> int:
    """Run the request; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m timbre.training REQUEST.json", file=sys.stderr)
        return 2
    try:
        request = json.loads(Path(arguments[0]).read_bytes())
        store, inputs = ArtifactStore(Path(request["home"])), request["inputs"]
        target, corpus, model = (store.open(name, inputs[name]) for name in ("target", "corpus", "model"))
        replay = FileInput(Path(inputs["replay"]))
        artifact = train_adapter(TrainingConfig.model_validate(request["config"]), target, corpus, model, replay, store)
    except IntegrityError as error:
        print(f"timbre: {error}", file=sys.stderr)
        return 6
    except KeyError as error:
        print(f"timbre: the request has no field {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"timbre: {error}", file=sys.stderr)
        return 2
    print(artifact.digest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
