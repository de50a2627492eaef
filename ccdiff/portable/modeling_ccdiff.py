"The network of a model trained with ccdiff (https://github.com/ccdiff/ccdiff), for people who have diffusers alone."
import re
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from torch import nn


class ClassConditionedUnet(ModelMixin, ConfigMixin):
    "A `UNet2DModel` that is given the class, as extra input channels or through the time embedding."

    @register_to_config
    def __init__(
        self,
        num_classes=10,
        class_emb_size=4,
        sample_size=28,
        image_channels=1,
        layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=None,
        up_block_types=None,
        norm_num_groups=32,
        attention_head_dim=8,
        dropout=0.0,
        conditioning="concat",
        null_class=False,
        patch_size=1,
        coupled_noise=False,
    ):
        super().__init__()
        concat = conditioning == "concat"
        num_embeddings = num_classes + bool(null_class)
        levels = len(block_out_channels)
        self.class_emb = nn.Embedding(num_embeddings, class_emb_size) if concat else None
        self.model = UNet2DModel(
            sample_size=sample_size // patch_size,
            in_channels=image_channels * patch_size**2 + (class_emb_size if concat else 0),
            out_channels=image_channels * patch_size**2,
            layers_per_block=layers_per_block,
            block_out_channels=tuple(block_out_channels),
            down_block_types=tuple(down_block_types or ["DownBlock2D"] + ["AttnDownBlock2D"] * (levels - 1)),
            up_block_types=tuple(up_block_types or ["AttnUpBlock2D"] * (levels - 1) + ["UpBlock2D"]),
            norm_num_groups=norm_num_groups,
            attention_head_dim=attention_head_dim,
            dropout=dropout,
            num_class_embeds=None if concat else num_embeddings,
            resnet_time_scale_shift="scale_shift" if conditioning == "scale_shift" else "default",
        )

    def forward(self, sample, timestep, class_labels):
        "The prediction for noisy images (B, C, H, W), a time and labels (B,); shaped like `sample`."
        patch_size = self.config.patch_size
        x = nn.functional.pixel_unshuffle(sample, patch_size) if patch_size > 1 else sample
        if self.class_emb is None:
            x = self.model(x, timestep, class_labels, return_dict=False)[0]
        else:
            planes = self.class_emb(class_labels).to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = self.model(torch.cat([x, planes], dim=1), timestep, return_dict=False)[0]
        return nn.functional.pixel_shuffle(x, patch_size) if patch_size > 1 else x

    def save_pretrained(self, save_directory, safe_serialization=True, variant=None, max_shard_size="10GB", **kwargs):
        "Write the network; weights of this variant that lie there in another form are replaced, or they would be loaded."
        dotted, name = re.escape(f".{variant}") if variant else "", "diffusion_pytorch_model"
        weights = rf"{name}{dotted}(-\d+-of-\d+)?\.(safetensors|bin)|{name}\.(safetensors|bin)\.index{dotted}\.json"
        for file in Path(save_directory).glob(f"{name}*"):
            if re.fullmatch(weights, file.name): file.unlink()
        super().save_pretrained(save_directory, safe_serialization=safe_serialization, variant=variant,
                                max_shard_size=max_shard_size, **kwargs)
