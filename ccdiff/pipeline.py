import importlib
import inspect
import json
import math
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import numpy as np
import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor

from .core import CcdiffError, check_choice, check_int, choose_device, generator, pack_state, unpack_state


def make_scheduler(
    prediction_type: str = "epsilon",  # what the network predicts: "epsilon" (noise), "v_prediction" or "sample" (the image)
    num_train_timesteps: int = 1000,   # how many noise levels there are
) -> DDPMScheduler:
    "The scheduler to train with and to sample with by default: DDPM on the cosine schedule (Nichol and Dhariwal 2021), image range [-1, 1]."
    check_choice("prediction_type", prediction_type, ["epsilon", "v_prediction", "sample"])
    return DDPMScheduler(num_train_timesteps=check_int("num_train_timesteps", num_train_timesteps, 2), beta_schedule="squaredcos_cap_v2",
                         prediction_type=prediction_type, timestep_spacing="leading", clip_sample=True)


def _check_labels(
    class_labels,     # int, or a list, tuple, range, array or tensor of ints
    batch_size,       # how many images of a single label; with several labels 1 or their number
    num_classes: int, # labels are 0 to num_classes - 1
) -> torch.Tensor:
    "An int64 CPU tensor with one label per image, or a `CcdiffError`."
    check_int("batch_size", batch_size, 1)
    values = class_labels.tolist() if hasattr(class_labels, "tolist") else class_labels
    if isinstance(values, (list, tuple, range)):
        values = [v.item() if hasattr(v, "item") and getattr(v, "ndim", 0) == 0 else v for v in values]
        if any(isinstance(v, (list, tuple)) or getattr(v, "ndim", 0) for v in values):
            raise CcdiffError(f"class_labels has shape {tuple(np.shape(class_labels))}; give one label per image, in one dimension, e.g. class_labels.flatten().")
        if not len(values): raise CcdiffError(f"class_labels={class_labels!r} is empty; give at least one label from 0 to {num_classes - 1}.")
        if batch_size not in (1, len(values)):
            raise CcdiffError(f"class_labels holds {len(values)} labels but batch_size={batch_size}; leave batch_size out, or give a single int to repeat.")
    else: values = [values] * batch_size
    return torch.tensor([check_int("class_labels", v, 0, num_classes - 1) for v in values])


def image_generators(
    seed: int,     # the seed of the whole set
    indices,       # which images, e.g. range(100, 200)
    device="cpu",  # where the numbers are drawn
) -> list:
    "One `torch.Generator` per image, a pure function of (seed, index): for the pipeline's `generator=`."
    return [generator(seed, i, "sample", device) for i in indices]


def _check_generators(
    given,     # `generator=`: None, a `torch.Generator`, or a list of them
    seed,      # `seed=`: None or an int
    n: int,    # how many images
):
    "The generator or generators to draw with, or a `CcdiffError`."
    if given is not None and seed is not None: raise CcdiffError("give either generator or seed, not both.")
    if seed is not None: return image_generators(check_int("seed", seed), range(n))
    several = isinstance(given, (list, tuple))
    if any(not isinstance(g, torch.Generator) for g in (given if several else [given]) if g is not None or several):
        raise CcdiffError(f"generator={given!r} must be a torch.Generator or a list of them; for a number use seed=.")
    if several and len(given) != n: raise CcdiffError(f"generator holds {len(given)} generators for {n} images; give one per image, or a single one.")
    return list(given) if several else given


_thresholded = dict(thresholding=True, sample_max_value=1.0, timestep_spacing="trailing")
_all_targets, _no_sample = ("epsilon", "v_prediction", "sample"), ("epsilon", "v_prediction")

SCHEDULERS = { # name: (diffusers class, the settings it needs here, the prediction types it is right for)
    "ddpm": ("DDPMScheduler", dict(clip_sample=True, timestep_spacing="leading"), _all_targets),
    "ddim": ("DDIMScheduler", dict(clip_sample=True, timestep_spacing="leading"), _all_targets),
    "dpm++": ("DPMSolverMultistepScheduler", _thresholded, _all_targets),
    "dpm++_single": ("DPMSolverSinglestepScheduler", dict(thresholding=True, sample_max_value=1.0), _all_targets),
    "unipc": ("UniPCMultistepScheduler", _thresholded, _all_targets),
    "deis": ("DEISMultistepScheduler", _thresholded, _all_targets),
    "sa": ("SASolverScheduler", _thresholded, _all_targets),
    "lcm": ("LCMScheduler", dict(clip_sample=True), _all_targets),
    "euler": ("EulerDiscreteScheduler", dict(timestep_spacing="leading"), _all_targets),
    "euler_a": ("EulerAncestralDiscreteScheduler", dict(timestep_spacing="leading"), _no_sample),
    "heun": ("HeunDiscreteScheduler", dict(clip_sample=True, timestep_spacing="leading"), _no_sample),
    "lms": ("LMSDiscreteScheduler", dict(timestep_spacing="leading"), _no_sample),
}


_refused = {
    "FlowMatch": "it expects a network that predicts a velocity along straight paths",
    "EDM": "it rescales what the network sees and says (EDM preconditioning)",
    "TCD": "it needs a network distilled for it and draws noise with this one",
    "DDIMInverse": "it runs the other way, from an image to noise",
    "CMStochastic": "it needs a consistency model",
    "KDPM2Ancestral": "it fails on the cosine schedule",
    **dict.fromkeys(("IPNDM", "CosineDPM"), "it draws noise at 20 steps and fewer"),
    **dict.fromkeys(("UnCLIP", "RePaint", "ScoreSde", "VQDiffusion", "Amused", "DDPMWuerstchen", "CogVideoX", "LTX", "KarrasVe"),
                    "it was made for another kind of model"),
}

def _check_scheduler(
    scheduler, # a diffusers scheduler, or the name of a class
):
    "Raise a `CcdiffError` with the reason if this scheduler cannot sample from our networks."
    name = scheduler if isinstance(scheduler, str) else type(scheduler).__name__
    reason = next((why for start, why in _refused.items() if name.startswith(start)), None)
    if reason is None and not isinstance(scheduler, str) and not hasattr(scheduler, "scale_model_input"):
        reason = "it has no scale_model_input, so it does not work by diffusers' usual protocol"
    if reason: raise CcdiffError(f"scheduler {name} cannot be used here: {reason}. pipeline.use_scheduler(name) knows {', '.join(map(repr, SCHEDULERS))}.")


_trained = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type", "rescale_betas_zero_snr")

def _build_scheduler(
    name: str,  # a name of `SCHEDULERS`, or the class it stands for
    config,     # the config of the scheduler in use
    overrides: dict, # settings to change
):
    "The scheduler `name` for the model that `config` belongs to."
    _check_scheduler(name)
    name = {cls: key for key, (cls, _, _) in SCHEDULERS.items()}.get(name, name)
    cls, settings, targets = SCHEDULERS[check_choice("scheduler", name, SCHEDULERS)]
    if config["prediction_type"] not in targets:
        raise CcdiffError(f"scheduler {name!r} cannot be used with prediction_type={config['prediction_type']!r}; "
                          f"choose one of {', '.join(repr(k) for k, v in SCHEDULERS.items() if config['prediction_type'] in v[2])}.")
    allowed = set(inspect.signature((cls := getattr(diffusers, cls)).__init__).parameters) - {"self", *_trained}
    for key in overrides: check_choice(f"setting of scheduler {name!r}", key, sorted(allowed))
    model = {k: config[k] for k in _trained if config.get(k) is not None}
    if model.pop("rescale_betas_zero_snr", False):
        if "rescale_betas_zero_snr" not in allowed | set(inspect.signature(cls.__init__).parameters):
            raise CcdiffError(f"scheduler {name!r} cannot sample from a model trained with rescale_betas_zero_snr=True; use 'ddpm' or 'ddim'.")
        model["rescale_betas_zero_snr"] = True
    if name == "lcm": settings = {**settings, "original_inference_steps": config["num_train_timesteps"]}
    return cls(**{**model, **settings, **overrides})


def _set_timesteps(
    scheduler, # the scheduler; its times are set
    steps,     # how many steps were asked for
    device,    # where the times are needed
):
    "Set `scheduler.timesteps`, or raise a `CcdiffError` if sampling would begin in the wrong place."
    _check_scheduler(scheduler)
    config, name, known = scheduler.config, type(scheduler).__name__, inspect.signature(type(scheduler).__init__).parameters
    total = config.num_train_timesteps
    steps = check_int("num_inference_steps", steps, 1, total)
    try: scheduler.set_timesteps(steps, device=device)
    except (IndexError, AssertionError, ValueError) as e:
        raise CcdiffError(f"{name} cannot take num_inference_steps={steps} with these settings ({e}); use_scheduler({'dpm++'!r}) can.") from e
    first, grid = float(scheduler.timesteps[0]), total // steps * steps if name in ("DDPMScheduler", "DDIMScheduler") else total
    if first < .88 * total * (1 - 1 / steps) or grid < .88 * total:
        good = sorted({total // k for k in range(1, total + 1)}, key=lambda n: abs(n - steps))[:2]
        raise CcdiffError(f"num_inference_steps={steps} would not run from noise to image with {name}: {steps} equal whole steps cover only a part of the {total} "
                          f"time steps. Use {' or '.join(map(str, sorted(good)))} steps, or use_scheduler('dpm++'), which takes any number.")
    tamed = any(k in known and config.get(k) for k in ("clip_sample", "thresholding"))
    if config.prediction_type == "epsilon" and not tamed and scheduler.alphas_cumprod[int(first)] < 1e-6 and not (steps == total and name in _single_steps):
        raise CcdiffError(f"{name} would begin at t={first:.0f}, where an error of the network is enlarged {float(scheduler.alphas_cumprod[int(first)])**-.5:,.0f} "
                          "times, and would draw noise. Take the scheduler from use_scheduler(name), or set timestep_spacing='leading' and fewer steps.")

_single_steps = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler") # all 1000 steps: each is small


@dataclass
class ClassConditionedPipelineOutput(BaseOutput):
    "What the pipeline returns: `.images` or `[\"images\"]`, and the labels they were drawn for."
    images: Any # (B, C, H, W) tensor in [0, 1], (B, H, W, C) array in [0, 1], or a list of PIL images
    class_labels: torch.Tensor # (B,) int64 on the CPU

class Grid(NamedTuple):
    "What `generate_grid` returns."
    images: torch.Tensor       # (rows * columns, C, H, W) in [0, 1]
    grid: torch.Tensor         # (C, height, width) in [0, 1], all of them on one sheet
    pil_images: list           # the same as PIL images
    pil_grid: Any              # the sheet as a PIL image
    class_labels: torch.Tensor # (rows * columns,) int64


def _finish(
    x: torch.Tensor,  # (B, C, H, W), around [-1, 1]
    output_type: str, # "pil", "np", "pt" or "latent"
):
    "Images in the form that was asked for."
    if output_type == "latent": return x
    images = (x / 2 + .5).clamp(0, 1)
    if output_type == "pt": return images
    images = images.cpu().permute(0, 2, 3, 1).float().numpy()
    return DiffusionPipeline.numpy_to_pil(images) if output_type == "pil" else images

def _tile(
    images: torch.Tensor, # (B, C, H, W)
    columns: int,         # images per row
    pad: int = 2,         # black pixels around each
) -> torch.Tensor:
    "One (C, height, width) sheet of all images."
    images = torch.nn.functional.pad(images, (pad, 0, pad, 0))
    rows = images.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    return torch.nn.functional.pad(rows, (0, pad, 0, pad))


class _Sampling:
    "The loop from noise to image."
    @property
    def guidance_scale(self): return self._guidance_scale
    @property
    def num_timesteps(self): return self._num_timesteps
    @property
    def interrupt(self): return self._interrupt
    @interrupt.setter
    def interrupt(self, value): self._interrupt = bool(value)

    def _predict(self, x, t, labels):
        "The network's answer, guided."
        kind, w = self.unet.dtype, self._guidance_scale
        if w == 1: return self.unet(x.to(kind), t, labels, return_dict=False)[0].to(x.dtype)
        both = torch.cat([labels, torch.full_like(labels, self.unet.config.num_classes)])
        told, untold = self.unet(torch.cat([x, x]).to(kind), t, both, return_dict=False)[0].to(x.dtype).chunk(2)
        return untold + w * (told - untold)

    def _first(self, labels, generators, latents, device):
        "Pure noise, or the caller's, in the scale that the scheduler starts from."
        c = self.unet.config
        shape = (len(labels), c.image_channels, c.sample_size, c.sample_size)
        if latents is not None and tuple(getattr(latents, "shape", ())) != shape:
            raise CcdiffError(f"latents must be a tensor of shape {shape}, not {tuple(getattr(latents, 'shape', ())) or latents!r}.")
        x = randn_tensor(shape, generators, device, torch.float32) if latents is None else latents.to(device, torch.float32)
        return x * self.scheduler.init_noise_sigma


class _Loop(_Sampling):
    "The loop itself."
    def _step_arguments(self, eta, generators):
        "What `scheduler.step` takes besides the prediction, the time and the image."
        takes = inspect.signature(self.scheduler.step).parameters
        if isinstance(eta, bool) or not isinstance(eta, (int, float)) or not 0 <= eta <= 1: raise CcdiffError(f"eta={eta!r} must be a number from 0 to 1.")
        if eta and "eta" not in takes:
            raise CcdiffError(f"eta={eta} means nothing to {type(self.scheduler).__name__}; only DDIM knows it: use_scheduler('ddim').")
        could = {"eta": eta, "generator": generators, "use_clipped_model_output": bool(self.scheduler.config.get("clip_sample"))}
        return {k: v for k, v in could.items() if k in takes}

    def _denoise(self, x, labels, arguments, callback, inputs, bar):
        "From noise to image, `scheduler.timesteps` long."
        for i, t in enumerate(self.scheduler.timesteps):
            if self._interrupt: continue
            prediction = self._predict(self.scheduler.scale_model_input(x, t), t, labels)
            x = self.scheduler.step(prediction, t, x, **arguments, return_dict=False)[0]
            if callback:
                at_hand = {"latents": x, "class_labels": labels}
                x = (callback(self, i, t, {k: at_hand[k] for k in inputs}) or {}).get("latents", x)
            if bar is not None: bar.update()
        return x


@contextmanager
def _evaluating(
    unet, # a network, perhaps in training
):
    "The network in evaluation mode (no dropout) inside, as it was outside."
    was = unet.training
    unet.eval()
    try: yield
    finally: unet.train(was)

def _check_request(
    unet,           # the network
    guidance_scale, # as in the pipeline's call
    output_type,    # ditto
    return_pil,     # ditto
    inputs,         # names of tensors that the callback wants
):
    "The output type, or a `CcdiffError`."
    if isinstance(guidance_scale, bool) or not isinstance(guidance_scale, (int, float)) or not 0 <= guidance_scale < math.inf:
        raise CcdiffError(f"guidance_scale={guidance_scale!r} must be a number from 0 on; 1 is no guidance.")
    if guidance_scale != 1 and not unet.config.null_class:
        raise CcdiffError(f"guidance_scale={guidance_scale} needs a network with a null class: train one with ClassConditionedUnet(null_class=True), or leave it at 1.")
    for name in inputs: check_choice("callback_on_step_end_tensor_inputs", name, ["latents", "class_labels"])
    if output_type is None: return "pil" if return_pil else "pt"
    if return_pil and output_type != "pil": raise CcdiffError(f"return_pil=True and output_type={output_type!r} contradict each other; give one of them.")
    return check_choice("output_type", output_type, ["pil", "np", "pt", "latent"])


class _Draw(_Loop):
    "The loop with what comes before and after it."
    def _draw(self, steps, labels, generators, latents, eta, guidance_scale, show_progress, callback, inputs):
        "Images around [-1, 1], float32, on the pipeline's device."
        device = self._execution_device
        _set_timesteps(self.scheduler, steps, device)
        arguments = self._step_arguments(eta, generators)
        x = self._first(labels, generators, latents, device)
        self._guidance_scale, self._interrupt, self._num_timesteps = guidance_scale, False, len(self.scheduler.timesteps)
        bar = self.progress_bar(total=self._num_timesteps) if show_progress else None
        with _evaluating(self.unet): x = self._denoise(x, labels.to(device), arguments, callback, inputs, bar)
        if bar is not None: bar.close()
        self.maybe_free_model_hooks()
        return x


class _Call(_Draw):
    "The pipeline's call."
    @torch.no_grad()
    def __call__(
        self,
        class_labels,                    # int, or list, array or tensor of ints: what to draw
        batch_size: int = 1,             # how many of it, if class_labels is a single int
        num_inference_steps: int = 1000, # steps from noise to image: fewer is faster
        generator=None,                  # a `torch.Generator`, or a list with one per image
        return_dict: bool = True,        # an output with names; else the tuple (images, class_labels)
        return_pil: bool = False,        # short for output_type="pil"
        show_progress: bool = True,      # a progress bar, set up by `set_progress_bar_config`
        seed: int | None = None,         # in place of generator: image i depends only on (seed, i, its label)
        latents=None,                    # (B, C, H, W) standard normal noise to start from
        eta: float = 0.0,                # DDIM only: 0 is deterministic, 1 like DDPM
        guidance_scale: float = 1.0,     # classifier-free guidance: 1 is off; needs a null class
        num_images_per_prompt: int = 1,  # images per label
        output_type: str | None = None,  # "pt" (default), "np", "pil" or "latent"
        callback_on_step_end=None,       # called after each step as f(pipeline, i, t, tensors); may return {"latents": …}
        callback_on_step_end_tensor_inputs=("latents",), # what it is given: "latents", "class_labels"
    ):
        "Draw images. Returns `images` ((B, C, H, W) in [0, 1] unless output_type says otherwise) and `class_labels`. Raises `CcdiffError` for what cannot be drawn."
        output_type = _check_request(self.unet, guidance_scale, output_type, return_pil, callback_on_step_end_tensor_inputs)
        labels = _check_labels(class_labels, batch_size, self.unet.config.num_classes)
        labels = labels.repeat_interleave(check_int("num_images_per_prompt", num_images_per_prompt, 1))
        generators = _check_generators(generator, seed, len(labels))
        x = self._draw(num_inference_steps, labels, generators, latents, eta, guidance_scale, show_progress,
                       callback_on_step_end, callback_on_step_end_tensor_inputs)
        images = _finish(x, output_type)
        return ClassConditionedPipelineOutput(images=images, class_labels=labels) if return_dict else (images, labels)


class _Grids(_Call):
    "Sheets of samples, and schedulers by name."
    def generate_grid(
        self,
        classes_per_row: int = 8,        # images in a row, all of one class
        num_rows: int | None = None,     # rows; row r shows class r (from 0 again after the last); None: one per class
        num_inference_steps: int = 1000, # steps from noise to image
        **kwargs,                        # anything else that the call takes: seed, guidance_scale, show_progress, …
    ) -> Grid:
        "Draw `num_rows` rows of `classes_per_row` images; returns `(images, grid, pil_images, pil_grid, class_labels)`."
        rows = self.unet.config.num_classes if num_rows is None else check_int("num_rows", num_rows, 1)
        columns = check_int("classes_per_row", classes_per_row, 1)
        labels = torch.arange(rows).remainder(self.unet.config.num_classes).repeat_interleave(columns)
        images = self(labels, num_inference_steps=num_inference_steps, **kwargs).images
        grid = _tile(images, columns)
        pil = DiffusionPipeline.numpy_to_pil
        as_arrays = lambda x: x.cpu().permute(0, 2, 3, 1).numpy()
        return Grid(images, grid, pil(as_arrays(images)), pil(as_arrays(grid[None]))[0], labels)

    def use_scheduler(
        self,
        name: str,   # one of `SCHEDULERS`, e.g. "dpm++", "unipc", "euler_a", "ddim", "lcm", "ddpm"
        **overrides, # settings of that scheduler to change
    ):
        "Sample with another scheduler from now on; returns the pipeline. Raises `CcdiffError` for one that cannot sample from this model."
        _check_scheduler(self.scheduler)
        self.scheduler = _build_scheduler(name, self.scheduler.config, overrides)
        return self


def _portable_source(
    module, # a module of this package, or a shipped copy of one
) -> str:
    "The module's text with what it imports from `core` written into it: it runs wherever diffusers does. A copy comes out as it is."
    def write_in(match):
        core, names = importlib.import_module("ccdiff.core"), match[1].split(", ")
        for name in names: # grows while it is read: a helper may call others
            code = inspect.getsource(getattr(core, name))
            names += [n for n in core.__all__ if re.search(rf"\b{n}\(", code) and n not in names]
        helpers = "\n\n".join(inspect.getsource(getattr(core, name)).rstrip() for name in names)
        needed = [line for line in re.findall(r"^import \w+$", inspect.getsource(core), flags=re.M) if re.search(rf"\b{line.split()[1]}\.", helpers)]
        return "\n".join([*needed, "", helpers])
    text = Path(inspect.getsourcefile(module)).read_text(encoding="utf-8")
    return re.sub(r"^from \.core import (.+)$", write_in, text, flags=re.M)

def _write_json(
    file: Path, # where
    data: dict, # what
):
    "JSON with sorted keys, whole or not at all."
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, file)


class _Files(_Grids):
    "Saving and loading, so that one folder works with ccdiff, without it, and through the Hub."
    def _code(self):
        "{file: text} to ship, empty for a class of somebody else's; `CcdiffError` if a class lives in a notebook."
        unet = getattr(self.unet, "_orig_mod", self.unet) # a compiled network holds the real one
        for cls in (type(self), type(unet)):
            if cls.__module__ == "__main__":
                raise CcdiffError(f"{cls.__name__} is defined in a notebook or script, so whoever loads the folder could not find it. Move it into a module "
                                  "that can be imported, or use ccdiff's own class.")
        if (type(self).__name__, type(unet).__name__) != ("ClassConditionedPipeline", "ClassConditionedUnet"): return {}
        return {file: _portable_source(sys.modules[cls.__module__]) for file, cls in (("pipeline.py", type(self)), ("unet/modeling_ccdiff.py", type(unet)))}

    def save_pretrained(
        self,
        save_directory,                  # the folder; made if need be
        safe_serialization: bool = True, # always safetensors: False is refused
        variant: str | None = None,      # e.g. "fp16": part of the weight file's name
        max_shard_size=None,             # e.g. "1MB": split the weights
        push_to_hub: bool = False,       # also upload it
        **kwargs,                        # for `push_to_hub`: repo_id, token, private, …
    ):
        "Write a complete folder: weights, scheduler, configs, and the code to load them without ccdiff."
        if not safe_serialization: raise CcdiffError("safe_serialization=False would write a pickle, which can carry code; only safetensors are written.")
        code, folder = self._code(), Path(save_directory)
        super().save_pretrained(folder, variant=variant, max_shard_size=max_shard_size)
        for file, text in code.items(): (folder / file).write_text(text, encoding="utf-8")
        index = {k: v for k, v in json.loads((folder / self.config_name).read_text(encoding="utf-8")).items() if k != "_name_or_path"}
        if code: index.update(_class_name=["pipeline", "ClassConditionedPipeline"], unet=["modeling_ccdiff", "ClassConditionedUnet"])
        _write_json(folder / self.config_name, index)
        if push_to_hub: self.push_to_hub(kwargs.pop("repo_id", folder.name), variant=variant, **kwargs)


_is_shipped = __name__.startswith("diffusers_modules.") # this text runs as a copy out of somebody's folder

class _Loading(_Files):
    "How the package reads folders: its own classes in the place of the shipped ones."
    @classmethod
    def _dict_from_json_file(cls, json_file, **kwargs):
        index = super()._dict_from_json_file(json_file, **kwargs)
        if not _is_shipped and isinstance(index.get("_class_name"), list): index["_class_name"] = index["_class_name"][1]
        return index

    @classmethod
    def load_config(
        cls,
        pretrained_model_name_or_path, # a folder, a file, or a name on the Hub
        **kwargs,                      # as in `ConfigMixin.load_config`
    ):
        "model_index.json, with ccdiff's own network named in the place of the shipped one."
        found = super().load_config(pretrained_model_name_or_path, **kwargs)
        index = found[0] if isinstance(found, tuple) else found
        if not _is_shipped and index.get("unet", [None])[0] == "modeling_ccdiff":
            index["unet"] = [importlib.import_module("ccdiff.unet").__name__, "ClassConditionedUnet"]
        return found


class _Sharing(_Loading):
    "Making one pipeline from another."
    @classmethod
    def from_pipe(
        cls,
        pipeline, # another pipeline, whose parts are shared
        **kwargs, # parts to replace, and `dtype`
    ):
        "A pipeline that shares another's network and scheduler, in the network's own precision."
        unet = kwargs.setdefault("unet", pipeline.unet)
        kwargs.setdefault("dtype", unet.dtype)
        return super().from_pipe(pipeline, **kwargs)


def _put_folder(
    new: Path,    # a complete folder
    target: Path, # where it belongs; what is there is replaced
):
    "Move `new` to `target`. A crash in between leaves the old folder under `.<name>.previous`, where loading finds it."
    previous = target.with_name(f".{target.name}.previous")
    if target.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.rename(target, previous)
    os.rename(new, target)
    shutil.rmtree(previous, ignore_errors=True)


def _save_state(
    folder: Path, # an existing folder
    plain: dict,  # what goes into state.json as it is
    packed: dict, # {name: nest with tensors}: the tensors go to <name>.safetensors
):
    "state.json and the tensors that belong to it."
    from safetensors.torch import save_file
    for name, nest in packed.items():
        plain[name], tensors = pack_state(nest)
        if tensors: save_file(tensors, folder / f"{name}.safetensors")
    _write_json(folder / "state.json", plain)

def _load_state(
    folder: Path, # where `_save_state` wrote
    names,        # the nests to put together again
) -> dict:
    "The dict that `_save_state` was given, `packed` included."
    from safetensors.torch import load_file
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    for name in names:
        file = folder / f"{name}.safetensors"
        state[name] = unpack_state(state[name], load_file(file) if file.exists() else {})
    return state


def _parameter_names(
    optimizer, # any torch optimizer
    unet,      # the network it trains
) -> list:
    "The names of the optimizer's parameters, in its own order."
    names = {id(p): n for n, p in unet.named_parameters()}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    if any(id(p) not in names for p in held): raise CcdiffError("this optimizer holds parameters that are not in pipeline.unet; save it yourself, or pass it by its own name.")
    return [names[id(p)] for p in held]

def _tie_optimizer(
    optimizer,   # an optimizer of the same kind as the one saved
    unet,        # the loaded network
    names: list, # what `_parameter_names` gave
    state: dict, # the optimizer's state_dict
):
    "Make `optimizer` train `unet` and go on where the saved one stopped."
    sizes, saved = [len(g["params"]) for g in optimizer.param_groups], [len(g["params"]) for g in state["param_groups"]]
    if sizes != saved: raise CcdiffError(f"the optimizer has parameter groups of {sizes} tensors, the saved one of {saved}; make it for the same network in the same way.")
    parameters, left = dict(unet.named_parameters()), iter(names)
    optimizer.state.clear()
    for group in optimizer.param_groups: group["params"] = [parameters[next(left)] for _ in group["params"]]
    optimizer.load_state_dict(state)


class _SaveState(_Sharing):
    "Saving a training."
    def save_training_state(
        self,
        directory,      # the folder; one that is there is replaced when the new one is complete
        optimizer=None, # the optimizer that trains `pipeline.unet`
        epoch: int = 0, # passes over the data so far
        step: int = 0,  # steps so far
        loss=None,      # the last loss: a number or a tensor of one
        **extra,        # anything else made of numbers, strings, lists, dicts and tensors, e.g. a schedule's state_dict()
    ) -> Path:
        "Write `pipeline/`, `state.json` and `*.safetensors`; returns the folder. No pickle. All or nothing."
        target = Path(directory).absolute()
        if target.exists() and not (target / "state.json").exists() and (not target.is_dir() or any(target.iterdir())):
            raise CcdiffError(f"{target} is there and holds no training state; give another folder, or remove it.")
        target.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
        try:
            self.save_pretrained(new / "pipeline")
            plain = dict(format=1, epoch=check_int("epoch", epoch), step=check_int("step", step), loss=None if loss is None else float(loss))
            plain["parameters"] = _parameter_names(optimizer, self.unet) if optimizer else None
            _save_state(new, plain, {"optimizer": optimizer.state_dict() if optimizer else None, "extra": extra})
            new.chmod(0o755); _put_folder(new, target)
        finally: shutil.rmtree(new, ignore_errors=True)
        return target


class _LoadState(_SaveState):
    "Loading a training."
    @classmethod
    def load_training_state(
        cls,
        directory,      # what `save_training_state` wrote
        optimizer=None, # an optimizer made like the one saved: it is tied to the loaded network and takes up the saved state
        device=None,    # where to put the network; None: the CPU
    ):
        "`(pipeline, state)`: the state is a dict with epoch, step, loss, `optimizer` (a state_dict or None) and whatever else was saved."
        folder = Path(directory).absolute()
        if not folder.exists() and (previous := folder.with_name(f".{folder.name}.previous")).exists(): folder = previous
        if not (folder / "state.json").is_file(): raise CcdiffError(f"{folder} holds no training state (no state.json); save_training_state writes one.")
        pipeline, state = cls.from_pretrained(folder / "pipeline"), _load_state(folder, ("optimizer", "extra"))
        if device is not None: pipeline.to(choose_device(device))
        names, extra = state.pop("parameters"), state.pop("extra")
        if optimizer is not None:
            if state["optimizer"] is None: raise CcdiffError(f"{folder} was saved without an optimizer; call load_training_state without one.")
            _tie_optimizer(optimizer, pipeline.unet, names, state["optimizer"])
        return pipeline, {**extra, **state}


class ClassConditionedPipeline(_LoadState, DiffusionPipeline):
    "Images of the classes you ask for. A diffusers pipeline of a `ClassConditionedUnet` and a scheduler; image size and channels are the network's."
    model_cpu_offload_seq = "unet"
    _callback_tensor_inputs = ["latents", "class_labels"]
    _guidance_scale, _interrupt, _num_timesteps = 1.0, False, 0

    def __init__(
        self,
        unet,      # a `ClassConditionedUnet`
        scheduler, # a diffusers scheduler, e.g. from `make_scheduler`
    ):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

