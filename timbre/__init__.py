"""Timbre: make a language model write the way a body of human writing is written (Distribution Fine-Tuning).

The rooms, ground floor first; a module imports only from those listed above its own:

    settings, config      where things are on this machine; what one run is asked to do
    progress, artifacts   telling a person how far we are; directories that exist whole or not at all
    statistics, page      paired, clustered intervals; what all pages share
    packages, models      verified downloads; the base model
    corpus                text in, documents out
    store, objectives     sparse target distributions; divergences
    training, targets     adapters; the distributions they are trained towards
    sampling, evaluation  writing; measuring what was written
    export, gates         ONNX bundles; verdicts
    registry, serving     champions and their history; text for applications
"""

__version__ = "0.1.0"
