"""The data registry: every corpus and target that was ever built, in a git + DVC repository of its own.

    registry = DataRegistry.open(settings())
    built = registry.build("target", config.corpus, config.target, config.model, model_digest=model.digest)
    built.tag                                   'target/literary/v3'

One build = fetch, reproduce, verify, commit, tag, push, by one owner at a time. It may be cut off anywhere: the next one
begins from the last commit, finds finished work in the artifact store and in DVC's cache, and makes up for what is
missing. An artifact has one tag: a digest that was seen before makes no other.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, ArtifactStore, Input, IntegrityError, write_atomically
from timbre.config import CorpusConfig, Frozen, ModelConfig, TargetConfig, release_config
from timbre.precision import precision
from timbre.settings import Settings
from timbre.tasks.stages import InputDigests, StyleParameters, keeps_archives, materialise, opened, read_parameters, write_parameters
from timbre.tasks.stores.dvc_commands import Dvc
from timbre.tasks.stores.git import Git
from timbre.tasks.stores.registry_init import beside, found, furnish, furnished, only_owner
from timbre.tasks.stores.sharing import fetch, share
from timbre.tasks.stores.versions import DataStage, Version, add_version, mark_pushed, pending, pushed, read_versions

_WRITTEN = (
    "dvc.yaml", "params.yaml", "dvc.lock", "corpus/.gitignore", "target/.gitignore", "sequence", "sources", "styles",
    ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "handins",
)  # fmt: skip
_NOTES = "handins"
_COMMENT = "# What each style was last built with. Written by Timbre; `inputs` holds digests and stage versions.\n"


class BuildResult(Frozen):
    """One version, and where its artifact lies in the store."""

    stage: DataStage
    style: str
    digest: str
    tag: str
    path: Path
    cached: bool
    """The registry had this very artifact before."""


class DataRegistry:
    """The registry of one home, or a shared one's clone."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.git = Git(path)

    @classmethod
    def open(cls, settings: Settings) -> "DataRegistry":
        """Open it; make or clone it on first use.

        Raises:
            ValueError: it cannot be made or reached; the sentence says what to do.
        """
        path = settings.registry_path.absolute()
        if not furnished(path):
            with only_owner(path):
                found(path, settings)
                fetch(Git(path))
        elif settings.registry_url is not None and (origin := Git(path).origin) != settings.registry_url:
            raise ValueError(
                f"TIMBRE_DATA_REGISTRY is {settings.registry_url}, but the data registry at {path} "
                + (f"is a clone of {origin}" if origin else "is shared with nobody")
                + f": move that folder away to clone the shared one, or run `git -C {path} remote {'set-url' if origin else 'add'} origin "
                f"{settings.registry_url}` to share what is in it"
            )
        return cls(path, settings)

    def find_tag(self, stage: DataStage, style: str, digest: str) -> str | None:
        """The version of this artifact, by git alone."""
        return next((version.tag for version in self.history(style) if (version.stage, version.digest) == (stage, digest)), None)

    def is_current(self, stage: DataStage, style: str, digest: str) -> bool:
        """Whether this artifact is committed, tagged and pushed, so that nothing is left to do; by git alone."""
        tag = self.find_tag(stage, style, digest)
        return tag is not None and tag in pushed(self.git)

    def history(self, style: str = "") -> list[Version]:
        """Every version of a style (or of all) by stage and number, with digest, commit and date."""
        return [version for version in read_versions(self.git) if style in ("", version.style)]

    def build(
        self, stage: DataStage, corpus: CorpusConfig, target: TargetConfig | None = None, model: ModelConfig | None = None, *,
        model_digest: str = "", timeout: float | None = None, wait_seconds: float = -1, note: Callable[[str], bytes] | None = None,
    ) -> BuildResult:  # fmt: skip
        """Build or find a corpus, or a target and its corpus, and see to it that it is committed, tagged and pushed.

        Args:
            target, model: needed for a target; when a corpus is built, those of the style stay as they are.
            model_digest: of the resolved model artifact, so that DVC sees when it changes.
            timeout: seconds after which DVC and all it started are ended.
            wait_seconds: how long to wait for another owner; negative for ever.
            note: from the digest of what was built to a record of its hand-in, which is committed with it; the first one stays.

        Raises:
            ValueError: what was asked for cannot be built, or the remotes cannot be reached.
            IntegrityError: sources, model or output are damaged.
            TimeoutError: it took too long.
        """
        from timbre.corpus.sources import corpus_inputs

        if stage == "target" and (target is None or model is None):
            raise ValueError("a target is built from a TargetConfig and a ModelConfig; give both")
        if stage == "corpus":
            target, model = None, None
        style, inputs = corpus.style, corpus_inputs(corpus)
        dvc = Dvc(self.path, self.settings, beside(self.path, "build"), timeout)
        chain: tuple[DataStage, ...] = ("corpus",) if stage == "corpus" else ("corpus", "target")
        with only_owner(self.path, wait_seconds) as crashed:
            self._restore(crashed)
            furnish(self.git, self.settings)
            fetch(self.git)
            before = {version.digest for version in self.history(style)}
            unchanged = self._write_request(corpus, inputs, target, model, model_digest)
            self._copy_sources(inputs, dvc)
            self._remove_damaged(chain, style, dvc)
            if unchanged and self.git.origin is not None and not (self.path / stage / style).exists() and dvc.locked(f"{stage}@{style}"):
                dvc.pull(f"{stage}@{style}")
            dvc.repro(f"{stage}@{style}")
            built = {name: self._take(name, style, dvc) for name in chain}
            if note is not None:
                self._note(style, built[stage].digest, note)
            self._commit(f"{style}: {stage} {built[stage].digest[:12]}")
            for name in chain:
                add_version(self.git, name, style, built[name].digest)
            sources = [f"sources/{name.removeprefix('source:')}/files.dvc" for name in inputs if name.startswith("source:")]
            self._push([f"{stage}@{style}", *(name for name in sources if (self.path / name).exists())], dvc)
            tag = self.find_tag(stage, style, built[stage].digest)
        assert tag is not None, "every digest that was built has a tag"
        digest = built[stage].digest
        return BuildResult(stage=stage, style=style, digest=digest, tag=tag, path=built[stage].path, cached=digest in before)

    def keep(self, stage: DataStage, style: str, artifact: Artifact, *, timeout: float | None = None, wait_seconds: float = -1) -> str:
        """Lay an artifact that was built elsewhere under its style, and see to it that it is committed, tagged and pushed; its tag.

        Raises:
            ValueError: the remotes cannot be reached, or somebody else owned the registry for too long.
            TimeoutError: it took too long.
        """
        dvc = Dvc(self.path, self.settings, beside(self.path, "build"), timeout)
        with only_owner(self.path, wait_seconds) as crashed:
            self._restore(crashed)
            furnish(self.git, self.settings)
            fetch(self.git)
            materialise(artifact, self.path / stage / style)
            dvc.add(f"{stage}/{style}")
            self._commit(f"{style}: {stage} {artifact.digest[:12]}")
            add_version(self.git, stage, style, artifact.digest)
            self._push([f"{stage}/{style}.dvc"], dvc)
            tag = self.find_tag(stage, style, artifact.digest)
        assert tag is not None, "every digest that was kept has a tag"
        return tag

    def _restore(self, crashed: bool) -> None:
        """Begin from the last commit. What a crashed build had finished is found again in the store and in DVC's cache."""
        if crashed:
            for lock in [*(self.path / ".git").rglob("*.lock"), self.path / ".dvc" / "tmp" / "rwlock"]:
                lock.unlink(missing_ok=True)
        if not self.git.has_commits:
            return
        self.git("reset", "--quiet")
        tracked = self.git.lines("ls-files", "--", *_WRITTEN)
        if tracked:
            self.git("checkout", "--quiet", "--force", "HEAD", "--", *tracked)
        if "dvc.lock" not in tracked:
            (self.path / "dvc.lock").unlink(missing_ok=True)

    def _write_request(
        self, corpus: CorpusConfig, inputs: Mapping[str, Input], target: TargetConfig | None, model: ModelConfig | None, model_digest: str
    ) -> bool:
        """Copy the project's stages and write the style's parameters; True if these are what they were."""
        from timbre.corpus.stage import STAGE as CORPUS
        from timbre.targets.stage import STAGE as TARGET
        from timbre.targets.stage import target_inputs

        shutil.copyfile(self.settings.file("dvc.yaml"), self.path / "dvc.yaml")
        path, style = self.path / "params.yaml", corpus.style
        project = read_parameters(self.settings.file("params.yaml"))
        archive, shipped = keeps_archives(project), project.get("styles") or {}
        before = read_parameters(path) if path.exists() else {}
        known: dict[str, Any] = before.get("styles") or {}
        styles = {**shipped, **known}
        default = release_config(style)
        fresh = StyleParameters(
            corpus=corpus, target=target or default.target.of_tokens(), model=model or default.model,
            inputs=InputDigests(
                corpus={name: inputs[name].digest for name in sorted(inputs)}, model=model_digest,
                target={name: value.digest for name, value in sorted(target_inputs(target or default.target.of_tokens()).items())},
                corpus_stage=CORPUS.version, target_stage=TARGET.version, precision=precision().sentence(),
            ),
        ).model_dump(mode="json")  # fmt: skip
        if target is None and (previous := styles.get(style)):
            fresh |= {name: previous[name] for name in ("target", "model")}
            fresh["inputs"] |= {
                name: previous["inputs"][name] for name in ("model", "target", "target_stage", "precision") if name in previous["inputs"]
            }
        styles[style] = fresh
        write_parameters(path, {"target": {"archive": archive}, "styles": styles}, _COMMENT)
        return known.get(style) == fresh and before.get("target") == {"archive": archive}

    def _copy_sources(self, inputs: Mapping[str, Input], dvc: Dvc) -> None:
        """Version the user's own sources with what is made from them: entries in git, texts in DVC."""
        home = self.settings.home.absolute()
        for value in inputs.values():
            if isinstance(value, Artifact) or not value.path.absolute().is_relative_to(home):
                continue
            relative = value.path.absolute().relative_to(home)
            copy, entry = self.path / relative, value.path.read_bytes()
            texts, tracked = value.path.parent / "files", copy.parent / "files.dvc"
            has_texts = value.path.name == "source.toml" and texts.is_dir()
            if copy.exists() and copy.read_bytes() == entry and (tracked.exists() or not has_texts):
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            if has_texts:
                shutil.rmtree(copy.parent / "files", ignore_errors=True)
                shutil.copytree(texts, copy.parent / "files")
                dvc.add(str(relative.parent / "files"))
            copy.write_bytes(entry)

    def _remove_damaged(self, chain: tuple[DataStage, ...], style: str, dvc: Dvc) -> None:
        """DVC takes damaged cache objects for good ones; so remove them, and outputs that are not what their manifest says."""
        for stage in chain:
            dvc.forget_damaged(f"{stage}@{style}")
            out = self.path / stage / style
            try:
                if out.exists():
                    with opened(out, self.settings.home / "work"):
                        pass
            except IntegrityError as error:
                print(f"{error}; it is made again", file=sys.stderr)
                shutil.rmtree(out)

    def _take(self, stage: DataStage, style: str, dvc: Dvc) -> Artifact:
        """Verify an output, see that DVC's cache holds just that, and have it in the artifact store."""
        with opened(self.path / stage / style, self.settings.home / "work") as artifact:
            if dvc.forget_damaged(f"{stage}@{style}"):
                dvc.commit(f"{stage}@{style}")
            return ArtifactStore(self.settings.home).adopt(artifact.path)

    def notes(self, style: str = "") -> Iterator[bytes]:
        """The records of hand-ins, of a style or of all, in no order."""
        for path in sorted((self.path / _NOTES).glob(f"{style or '*'}/*.json")):
            yield path.read_bytes()

    def _note(self, style: str, digest: str, note: Callable[[str], bytes]) -> None:
        path = self.path / _NOTES / style / f"{digest}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, note(digest))

    def _commit(self, message: str) -> None:
        present = [name for name in _WRITTEN if (self.path / name).exists()]
        self.git("add", "--", *present)
        if not self.git.ok("diff", "--cached", "--quiet"):
            self.git("commit", "--quiet", "-m", message)

    def _push(self, targets: list[str], dvc: Dvc) -> None:
        """Data first, then the commits and tags that point to it."""
        head = self.git("rev-parse", "HEAD")
        waiting = pending(self.git)
        if waiting:
            older = any(version.commit != head for version in waiting)
            dvc.push([] if older else targets, all_tags=older)
        if self.git.origin is not None:
            share(self.git)
        mark_pushed(self.git, pending(self.git))
