"""Every network of the tables, trained once: a training is named by the hash of everything that decides it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import safetensors.torch
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

import kdvideo as kd
from benchmarks.paper import taps, terms, trained_networks, training_log
from benchmarks.paper.methods import FLOW, FLOW_PREDICTION, Method
from benchmarks.paper.trained_networks import Trained
from examples.d3d import evaluate, starts
from examples.d3d.batches import Training, unchanged
from examples.d3d.config import Config
from examples.d3d.data import Clips, fingerprint, open_clips, prepare
from examples.d3d.teaching import Teaching, online, teach
from examples.d3d.train_teacher import WEIGHTS
from examples.d3d.training import fit
from kdvideo.files import write_atomic
from kdvideo.training import claim_folder, settings_hash


@dataclass(frozen=True)
class Lab:
    """Networks, and their scores, on the clips of some settings; what was trained before is read back."""

    config: Config
    accelerator: Accelerator
    own: Mapping[Method, Config] = field(default_factory=dict)
    """The settings of methods that have a schedule of their own."""

    def settings(self, method: Method) -> Config:
        """Return the settings with which a method is trained."""
        return self.own.get(method, self.config)

    @cached_property
    def clips(self) -> Clips:
        """The clips, which are opened once."""
        return open_clips(self.config)

    @property
    def labels(self) -> Tensor:
        """The true class of every test clip, (clips,)."""
        return torch.tensor(self.clips.test["label"])

    def train(self, method: Method, seed: int, *, start: Trained | None = None) -> Trained:
        """Train a method, and first what it builds on, unless that was done; a training that was stopped continues.

        A teacher has the student's seed, except where it sees the same stream: it is then that of the next seed,
        since one of the same seed began with the student's own weights and saw its very batches.

        Args:
            method: what is trained. `config.teacher` stands for S3D-G Flow.
            seed: of the network, the views and dropout.
            start: trained weights with which the method's own network starts, with a fresh classifier.

        Raises:
            ValueError: the file of `config.teacher`, or `start`, does not fit.
        """
        if method == FLOW and self.config.teacher:
            return trained_networks.load(self.config.teacher, self.clips, stream="flow")
        if method.predicted_flow and method.teacher:
            if start:
                raise ValueError(f"{method.name} starts with networks of its own: it takes no weights to start with")
            return self._on_predicted_flow(method, method.teacher, seed)
        if method.distills and self.config.distill_weight * method.distill_weight == 0:
            method = dataclasses.replace(method, teacher=None, layer="logits")
        below = method.teacher
        teacher = self.train(below, seed + (below.stream == method.stream)) if below else None
        return self._train(method, seed, self.settings(method), teacher=teacher, start=start)

    def _on_predicted_flow(self, method: Method, temporal: Method, seed: int) -> Trained:
        """The flow prediction alone in the first part of the steps, then all of it, slower: as many as other methods.

        At the rate of a fresh network the action loss soon drives predictions to where truncated flow has no gradient.
        """
        schedule = self.config.optimizer
        first = max(1, round(method.prediction_first * schedule.steps))
        classifier = self.train(temporal, seed)
        alone = dataclasses.replace(schedule, steps=first)
        predictor = self._train(FLOW_PREDICTION, seed, dataclasses.replace(self.config, optimizer=alone))
        rest, rate = max(1, schedule.steps - first), method.end_to_end_rate * schedule.lr
        both = dataclasses.replace(schedule, steps=rest, lr=rate)
        config = dataclasses.replace(self.config, optimizer=both)
        return self._train(method, seed, config, teacher=classifier, predictor=predictor)

    def _train(
        self,
        method: Method,
        seed: int,
        config: Config,
        *,
        teacher: Trained | None = None,
        predictor: Trained | None = None,
        start: Trained | None = None,
    ) -> Trained:
        built_on = {"teacher": teacher, "predictor": predictor, "start": start}
        settings = {
            "method": method.decisive,
            "seed": seed,
            "data": fingerprint(self.clips.train),
            "input": {name: value for name, value in self.clips.seen(method.stream).items() if name != "flow"},
            "optimizer": asdict(config.optimizer),
            "network": starts.decisive(config.network),
            "mixed_precision": config.mixed_precision,
            "accumulate": config.gradient_accumulation_steps,
            **config.rounding,
            **self._flow_settings(method),
            **{name: one.fingerprint for name, one in built_on.items() if one},
        }
        folder = config.work_dir / "trained" / settings_hash(settings)
        claim_folder(folder, settings)
        if not (folder / WEIGHTS).exists():
            network = trained_networks.start(method, config, len(self.clips.classes), seed, teacher, predictor, start)
            student = terms.student(method, network, teacher)
            teaching = self._teaching(method, config, seed, teacher)
            training = Training(
                f"{method.name} seed {seed}",
                folder,
                student.train(),
                terms.losses(method, config, teaching.target),
                self.clips.readable(teaching.views),
                config.optimizer,
                seed,
                teaching.on_device,
                num_workers=config.num_workers,
                checkpointing_steps=config.checkpointing_steps,
                accumulate=config.gradient_accumulation_steps,
                channels_last=config.channels_last,
                compile=config.compile,
                **config.guards,
            )
            with training_log.timed(folder / WEIGHTS, self.accelerator):
                bare = fit(training, self.accelerator).remove()
            if self.accelerator.is_main_process:
                trained_networks.save(bare, folder / WEIGHTS, self.clips, method.stream)
            self.accelerator.print(f"{method.name}, seed {seed}: {folder / WEIGHTS}", flush=True)
        self.accelerator.wait_for_everyone()
        trainings = training_log.about(folder)
        for one in filter(None, built_on.values()):
            trainings |= one.trainings
        found = trained_networks.load(folder / WEIGHTS, self.clips, stream=method.stream)
        return dataclasses.replace(found, trainings=trainings)

    def _flow_settings(self, method: Method) -> dict[str, Any]:
        """How flow, or what the teacher makes of its input, reaches the training."""
        config, sees_flow = self.config, method.stream == "flow" or bool(method.flow_loss_weight)
        found: dict[str, Any] = {}
        if method.distills:
            weight = config.distill_weight * method.distill_weight
            found = {"distill_weight": weight, "distinct_views": config.distinct_views}
            found["class_reduction"] = config.class_reduction
            sees_flow = method.teacher is not None and method.teacher.stream == "flow"
            if sees_flow or config.flow_from == "cache":
                found["flow_from"] = config.flow_from
            if sees_flow and config.flow_from == "cache":
                found["cache_flow"] = config.cache_flow
        elif sees_flow:
            found["flow_from"] = "store" if self.clips.stores_flow else "online"
        return found | ({"flow": self.clips.estimator.fingerprint} if sees_flow else {})

    def _teaching(self, method: Method, config: Config, seed: int, teacher: Trained | None) -> Teaching:
        """The views of a training, and the teacher's outputs for them where there is a teacher."""
        clips, nothing = self.clips, _no_target
        if method.distills and method.teacher and teacher:
            at_logits = method.layer == "logits"
            options = {} if at_logits else {**taps.tap(teacher.network, method.layer), "logits": None}
            taught_by = kd.Teacher(teacher.network, **options, early_exit=not at_logits)
            roles = () if at_logits else (method.layer,)
            stream = method.teacher.stream
            return teach(taught_by, clips, config, seed, self.accelerator, stream=stream, features=roles)
        if method.stream != "flow" and not method.flow_loss_weight:
            return Teaching(clips.views(clips.train, train=True, seed=seed), unchanged, nothing)
        if not clips.stores_flow:
            return Teaching(clips.views(clips.train, train=True, seed=seed), online(clips), nothing)
        source = prepare(clips, clips.train, self.accelerator)
        rgb = method.stream == "rgb"
        return Teaching(clips.views(clips.train, source, train=True, rgb=rgb, seed=seed), unchanged, nothing)

    def scores(self, trained: Trained) -> Tensor:
        """Compute the mean softmax over the views of every test clip, (clips, K), unless that was done."""
        clips = self.clips
        decisive = {
            "weights": trained.fingerprint,
            "clips": fingerprint(clips.test),
            "input": asdict(clips.input),
            "flow": clips.estimator.fingerprint,
        }
        path = self.config.work_dir / "scores" / f"{settings_hash(decisive)}.safetensors"
        if not path.exists():
            found = evaluate.scores(trained.network, trained.stream, clips, self.config, self.accelerator)
            if self.accelerator.is_main_process:
                write_atomic(path, safetensors.torch.save({"scores": found}))
            self.accelerator.wait_for_everyone()
        return load_file(path)["scores"]


def _no_target(batch: dict[str, Any]) -> kd.Output:
    raise AssertionError("a training without a teacher asks for its outputs")
