"""Timbre: make a language model write the way a body of human writing is written (Distribution Fine-Tuning).

The rooms, ground floor first; a module imports only from those listed above its own:

    settings, config        where things are on this machine; what one run is asked to do
    precision               in which numbers models run here
    progress, artifacts     telling a person how far we are; directories that exist whole or not at all
    statistics, tabular     paired, clustered intervals; files of rows
    page                    what all pages share; a room's own page is its `page.py`
    packages, models        verified downloads; the base model
    corpus                  text in, documents out
    store, objectives       sparse target distributions; divergences
    training, targets       adapters; the distributions they are trained towards
    inference               what talks to a loaded model: scoring, drawing, prompts
    metrics                 texts in, figures out
    evaluation              likelihood, probes, bias, factuality, memorisation of a model
    benchmarks, judging     public test sets; which of two texts judges and people prefer
    export, gates           ONNX bundles; verdicts
    registry, serving       champions and their history; text for applications
    pipeline                the steps of a release, declared once; finding, building and planning them
    tasks, flows, cli       Prefect tasks and the stores behind the ports; the main job; the command

The last three stand at the top of the repository; here are links to them, so that one package holds everything.
"""

__version__ = "0.1.0"
