"""The parts of ``builtin:nano-t2i`` before they have learned anything, each a small one of FLUX.2's."""

from __future__ import annotations

from typing import Any

import diffusers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

from peftscope.tasks.images.drawing.scenes import all_scenes

__all__ = [
    "DIFFUSERS",
    "LATENT_CHANNELS",
    "SIDE",
    "TOKENS",
    "autoencoder",
    "scheduler",
    "text_encoder",
    "tokenizer",
    "transformer",
]

DIFFUSERS: Any = diffusers
"""Its classes are untyped."""
SIDE = 64
"""Pixels of a picture, wide and high."""
LATENT_CHANNELS = 16
TOKENS = 24
"""Of a prompt; shorter ones are padded, as FLUX.2's are to 512."""
WORDS = 512
TEXT_WIDTH = 96
TEXT_LAYERS = 4
HEARD_LAYERS = 3
"""Layers of the text encoder that the transformer is given, side by side."""
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.content + '<|im_end|>' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>' }}{%- endif -%}"
)
"""FLUX.2 writes prompts as a turn of a chat; ours has neither roles nor thoughts."""


def autoencoder() -> Any:
    """64 × 64 pixels to 16 × 16 places of 16 channels, and back."""
    return DIFFUSERS.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=SIDE,
        mid_block_add_attention=False,
    )


def transformer() -> Any:
    """Two layers in which text and picture have their own weights, and four in which they share them."""
    return DIFFUSERS.Flux2Transformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=64,
        num_attention_heads=4,
        joint_attention_dim=HEARD_LAYERS * TEXT_WIDTH,
        timestep_guidance_channels=64,
        axes_dims_rope=(16, 16, 16, 16),
        guidance_embeds=False,
    )


def scheduler() -> Any:
    """Noise levels spread evenly, then moved towards noise a little."""
    return DIFFUSERS.FlowMatchEulerDiscreteScheduler(shift=2.0, use_dynamic_shifting=False)


def text_encoder(words: int) -> Qwen3ForCausalLM:
    """A Qwen 3 of four narrow layers."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=words,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=3,
            num_key_value_heads=3,
            head_dim=32,
            max_position_embeddings=4 * TOKENS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=2,
            pad_token_id=0,
        )
    )


def tokenizer() -> Qwen2TokenizerFast:
    """Byte-level BPE that has the words of the captions whole, and spells all others."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((scene.caption() for scene in all_scenes()), trainer)
    fast = Qwen2TokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=PAD, model_max_length=TOKENS
    )
    fast.add_special_tokens({"additional_special_tokens": [AddedToken(START), AddedToken(END)]})
    fast.chat_template = TEMPLATE
    return fast
