"""Image pipelines of random weights, in the layout of the hub and with all parts of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    Qwen2TokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TEMPLATE = (
    "{% for message in messages %}<s>{{ message.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
)


def flux2_folder(folder: Path, *, seed: int = 0) -> Path:
    """A ``Flux2KleinPipeline`` that draws 32 × 32 pixels of 4 × 4 tokens."""
    torch.manual_seed(seed)
    tokens = _byte_tokenizer()
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=32,
            mid_block_add_attention=False,
        ),
        text_encoder=Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokens),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=4,
                num_attention_heads=2,
                num_key_value_heads=2,
                head_dim=8,
                max_position_embeddings=64,
                bos_token_id=None,
                eos_token_id=2,
                pad_token_id=0,
            )
        ),
        tokenizer=tokens,
        transformer=flux2_transformer(),
    ).save_pretrained(folder)
    return folder


def flux2_transformer() -> Flux2Transformer2DModel:
    """Of 32 features, in two heads."""
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )


def wide_flux2_folder(folder: Path, *, num_heads: int = 16, seed: int = 0) -> Path:
    """A ``Flux2KleinPipeline`` with 16 features for each of many heads: the benchmark's configs need 256 features."""
    flux2_folder(folder, seed=seed)
    torch.manual_seed(seed)
    narrow = flux2_transformer().config
    Flux2Transformer2DModel.from_config(narrow, num_attention_heads=num_heads).save_pretrained(folder / "transformer")
    return folder


def stable_diffusion_folder(folder: Path, *, prediction: str = "epsilon", seed: int = 0) -> Path:
    """A ``StableDiffusionPipeline`` that draws 32 × 32 pixels; with its safety checker left out."""
    torch.manual_seed(seed)
    pipeline: Any = StableDiffusionPipeline(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_clip()),
        tokenizer=_clip_tokenizer(folder),
        unet=UNet2DConditionModel(**UNET, cross_attention_dim=16),
        scheduler=DDIMScheduler(prediction_type=prediction, clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def stable_diffusion_xl_folder(folder: Path, *, seed: int = 0) -> Path:
    """A ``StableDiffusionXLPipeline`` that draws 32 × 32 pixels."""
    torch.manual_seed(seed)
    pipeline: Any = StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_clip()),
        text_encoder_2=CLIPTextModelWithProjection(_clip()),
        tokenizer=_clip_tokenizer(folder),
        tokenizer_2=_clip_tokenizer(folder),
        unet=UNet2DConditionModel(
            **UNET,
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16,
        ),
        scheduler=EulerDiscreteScheduler(),
    )
    pipeline.save_pretrained(folder)
    return folder


UNET: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 8,
}


def _autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )


def _clip() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=24,
        projection_dim=16,
        eos_token_id=2,
    )


def _core() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["a photo of a dog on the beach"], trainer)
    return core


def _byte_tokenizer() -> Qwen2TokenizerFast:
    tokens = Qwen2TokenizerFast(
        tokenizer_object=_core(), pad_token="<pad>", eos_token="</s>", unk_token="<pad>", model_max_length=24
    )
    tokens.chat_template = TEMPLATE
    return tokens


def _clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's, with bytes for words."""
    place = folder.parent / f"{folder.name}-tokens"
    place.mkdir(exist_ok=True)
    characters = pre_tokenizers.ByteLevel.alphabet()
    words = ["<|startoftext|>", "<|endoftext|>", *sorted(characters), *(f"{c}</w>" for c in sorted(characters))]
    vocab = {word: number for number, word in enumerate(words[:300])}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=24, pad_token="<|endoftext|>")


def clip_folder(folder: Path) -> Path:
    """A model of texts and pictures with its processor."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    config = CLIPConfig(text_config=_clip().to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=pictures, tokenizer=_clip_tokenizer(folder)).save_pretrained(folder)
    return folder


def dino_folder(folder: Path, *, seed: int = 0) -> Path:
    """A vision model of DINOv2's kind with its processor."""
    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=1, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def noise_photos(folder: Path, count: int) -> Path:
    """Pictures of noise, 40 pixels wide, each with a caption; the folder is made."""
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"dog {number}", "utf-8")
    return folder
