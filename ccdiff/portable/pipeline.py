"""Draw images of a class with diffusers alone: the pipeline of a model trained with ccdiff (https://github.com/ccdiff/ccdiff).

    pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    images = pipeline([0, 1, 2], num_inference_steps=50, seed=0, output_type="pil").images

Classes can be called by number or by name: `pipeline.config.id2label` lists both.

The scheduler in the folder was tried with this model. To use another one that predicts the image from the noise, let it clip:
`DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, thresholding=True, sample_max_value=1.0)`.
"""
import hashlib
import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor


@dataclass
class ClassConditionedPipelineOutput(BaseOutput):
    "Images, as a tensor (B, C, H, W) or array (B, H, W, C) in [0, 1] or as PIL images, and their labels."
    images: object
    class_labels: torch.Tensor


def image_generator(seed, index):
    "A generator that is a pure function of (seed, index): image `index` is the same whatever else is drawn."
    digest = hashlib.blake2b(f"{seed}/{index}/sample".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class ClassConditionedPipeline(DiffusionPipeline):
    model_cpu_offload_seq = "unet"

    def __init__(self, unet, scheduler, id2label=None):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        given = {int(k): name for k, name in (id2label or {}).items()} # JSON has turned the numbers into text
        self.register_to_config(id2label={k: given.get(k, str(k)) for k in range(unet.config.num_classes)})
        files = {"pipeline.py": __file__, "unet/modeling_ccdiff.py": sys.modules[type(unet).__module__].__file__}
        self._code = {name: Path(file).read_text(encoding="utf-8") for name, file in files.items()}

    def get_label_ids(self, label):
        "The numbers of the classes that are given by name or number, one or several."
        values = label.flatten().tolist() if hasattr(label, "flatten") else label
        values = list(values) if isinstance(values, (list, tuple, range)) else [values]
        names = self.config.id2label
        numbers = {**{name: k for k, name in names.items()}, **{k: k for k in names}}
        if not values or any(value not in numbers for value in values):
            raise ValueError(f"class_labels={label!r} must be of these classes, by number or name: {names}")
        return [numbers[value] for value in values]

    @torch.no_grad()
    def __call__(
        self,
        class_labels,               # a name or number, or a list or tensor of them: what to draw
        batch_size=1,               # how many of it, if it is a single one
        num_inference_steps=1000,   # steps from noise to image: fewer is faster
        generator=None,             # a torch.Generator, or a list with one per image
        seed=None,                  # in place of generator: image i depends only on (seed, i, its label)
        guidance_scale=1.0,         # classifier-free guidance: 1 is off
        guidance_interval=(0, 1),   # guide between these fractions of the noise scale only
        output_type="pt",           # "pt", "np", "pil" or "latent"
        show_progress=True,
        return_dict=True,
    ):
        config, device = self.unet.config, self._execution_device
        labels = torch.tensor(self.get_label_ids(class_labels))
        if len(labels) == 1: labels = labels.repeat(batch_size)
        if guidance_scale != 1 and not config.null_class:
            raise ValueError("this network was trained without a null class, so guidance_scale must be 1")
        if seed is not None: generator = [image_generator(seed, i) for i in range(len(labels))]

        self.scheduler.set_timesteps(num_inference_steps, device=device)
        times = self.scheduler.timesteps
        scale_input = getattr(self.scheduler, "scale_model_input", lambda x, t: x)
        options = {"generator": generator, "use_clipped_model_output": bool(self.scheduler.config.get("clip_sample"))}
        takes = inspect.signature(self.scheduler.step).parameters
        options = {name: value for name, value in options.items() if name in takes}

        shape = (len(labels), config.image_channels, config.sample_size, config.sample_size)
        x = randn_tensor(shape, generator, device, torch.float32) * getattr(self.scheduler, "init_noise_sigma", 1.0)
        cond = labels.to(device)
        null = torch.full_like(cond, config.num_classes)
        (low, high), total = guidance_interval, self.scheduler.config.num_train_timesteps
        bar = self.progress_bar(times) if show_progress else times
        for t in bar:
            noisy = scale_input(x, t).to(self.unet.dtype)
            if guidance_scale != 1 and low <= float(t) / total <= high:
                both = self.unet(torch.cat([noisy, noisy]), t, torch.cat([cond, null])).to(x.dtype)
                conditional, unconditional = both.chunk(2)
                prediction = unconditional + guidance_scale * (conditional - unconditional)
            else:
                prediction = self.unet(noisy, t, cond).to(x.dtype)
            x = self.scheduler.step(prediction, t, x, **options, return_dict=False)[0]
        self.maybe_free_model_hooks()

        images = x if output_type == "latent" else (x / 2 + 0.5).clamp(0, 1)
        if output_type in ("np", "pil"): images = images.cpu().permute(0, 2, 3, 1).float().numpy()
        if output_type == "pil": images = self.numpy_to_pil(images)
        return ClassConditionedPipelineOutput(images, labels) if return_dict else (images, labels)

    def save_pretrained(self, save_directory, **kwargs):
        "Write a folder that loads as this one did: with its code."
        super().save_pretrained(save_directory, **kwargs)
        folder = Path(save_directory)
        for name, text in self._code.items(): (folder / name).write_text(text, encoding="utf-8")
        for file in (folder / "model_index.json", folder / "unet/config.json"):
            config = json.loads(file.read_text(encoding="utf-8"))
            config.pop("_name_or_path", None) # where it was loaded from is nobody's business
            if file.name == "model_index.json":
                config.update(_class_name=["pipeline", "ClassConditionedPipeline"], unet=["modeling_ccdiff", "ClassConditionedUnet"])
            file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
