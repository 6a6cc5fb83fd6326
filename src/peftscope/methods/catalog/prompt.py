"""Methods that train virtual tokens or prefixes and leave every weight of the base alone."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.rates import chosen, published

__all__ = ["CARDS"]

PROMPT_TUNING = Paper(title="The Power of Scale for Parameter-Efficient Prompt Tuning", arxiv="2104.08691", year=2021)
PREFIX_TUNING = Paper(
    title="Prefix-Tuning: Optimizing Continuous Prompts for Generation", arxiv="2101.00190", year=2021
)
P_TUNING = Paper(title="GPT Understands, Too", arxiv="2103.10385", year=2021)
CARTRIDGES = Paper(
    title="Cartridges: Lightweight and general-purpose long context representations via self-study",
    arxiv="2506.06266",
    year=2025,
)

TAKES_CONTEXT = "virtual tokens take room in the context and cost time in every forward pass"
PREFIX_CACHE = "needs a model whose forward takes a key-value cache, and no checkpointing of activations"
HIGHER = "two decades, from the lower published rate upwards; nobody's search backs its ends"

# Long enough for the default number of virtual tokens with any tokenizer.
PREFIX_TEXT = (
    "The following is a careful and helpful answer. It first works out what is being asked, then goes "
    "through the problem one step at a time, and states the result plainly at the end."
)

CARDS: tuple[Card, ...] = (
    Card(
        name="prompt-tuning",
        title="Prompt tuning",
        family="prompt",
        peft_type="PROMPT_TUNING",
        summary="Trains a few embeddings that are put in front of every input.",
        paper=PROMPT_TUNING,
        config={"prompt_tuning_init": "RANDOM"},
        knobs={"num_virtual_tokens": 20},
        rate=published("MetaMathQA/prompt_tuning/llama-3.2-3B-lr_0.001", 1e-3, 1e-4, 1e-1, HIGHER),
        targets="none",
        virtual_tokens=True,
        limits=(
            TAKES_CONTEXT,
            "random embeddings disturb the base at the start; 1e-4 was too little",
        ),
    ),
    Card(
        name="prompt-tuning-vocab",
        title="Prompt tuning, vocabulary initialisation",
        family="prompt",
        peft_type="PROMPT_TUNING",
        variant_of="prompt-tuning",
        summary="Prompt tuning that starts from the embeddings of randomly drawn vocabulary entries.",
        paper=PROMPT_TUNING,
        config={"prompt_tuning_init": "SAMPLE_VOCAB"},
        knobs={"num_virtual_tokens": 20},
        rate=published("MetaMathQA/prompt_tuning/llama-3.2-3B-sample_vocab-lr_0.001", 1e-3, 1e-4, 1e-1, HIGHER),
        targets="none",
        virtual_tokens=True,
        limits=(TAKES_CONTEXT,),
    ),
    Card(
        name="multitask-prompt-tuning",
        title="Multitask prompt tuning",
        family="prompt",
        peft_type="MULTITASK_PROMPT_TUNING",
        summary="Splits a prompt into a part shared by several tasks and a low-rank part for each of them.",
        paper=Paper(
            title="Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning",
            arxiv="2303.02861",
            year=2023,
        ),
        knobs={"num_virtual_tokens": 20, "num_ranks": 1},
        targets="none",
        virtual_tokens=True,
        needs=("several tasks", "the id of its task with every example"),
        refused="every batch must carry the ids of its tasks, and a study here has one task",
    ),
    Card(
        name="p-tuning",
        title="P-tuning",
        family="prompt",
        peft_type="P_TUNING",
        summary="Trains virtual tokens through a small encoder network that makes their embeddings.",
        paper=P_TUNING,
        config={"encoder_reparameterization_type": "MLP"},
        knobs={"num_virtual_tokens": 20, "encoder_num_layers": 2, "encoder_dropout": 0.0},
        rate=published("MetaMathQA/ptuning/llama-3.2-3B-default", 1e-4, 1e-5, 1e-2),
        targets="none",
        virtual_tokens=True,
        limits=(
            TAKES_CONTEXT,
            "encoder_num_layers has no effect with the MLP encoder",
            "the encoder is trained and thrown away: the checkpoint is far smaller than the trained weights",
        ),
    ),
    Card(
        name="p-tuning-lstm",
        title="P-tuning, LSTM encoder",
        family="prompt",
        peft_type="P_TUNING",
        variant_of="p-tuning",
        summary="P-tuning whose virtual tokens come from a recurrent encoder, as in the paper.",
        paper=P_TUNING,
        config={"encoder_reparameterization_type": "LSTM"},
        knobs={"num_virtual_tokens": 20, "encoder_num_layers": 2, "encoder_dropout": 0.0},
        rate=chosen(1e-4, 1e-5, 1e-2, "the rate of the published run of p-tuning with an MLP encoder"),
        targets="none",
        virtual_tokens=True,
        limits=(TAKES_CONTEXT,),
    ),
    Card(
        name="prefix-tuning",
        title="Prefix tuning",
        family="prompt",
        peft_type="PREFIX_TUNING",
        summary="Trains keys and values that every attention layer sees in front of the input.",
        paper=PREFIX_TUNING,
        config={"prefix_projection": False, "init_weights": None},
        knobs={"num_virtual_tokens": 20},
        rate=published("MetaMathQA/prefixtuning/llama-3.2-3B-lr_0.001", 1e-3, 1e-4, 1e-1, HIGHER),
        targets="none",
        virtual_tokens=True,
        limits=(
            TAKES_CONTEXT,
            PREFIX_CACHE,
            "random keys and values disturb the base at the start: prefix-tuning-zero or -text do better",
        ),
    ),
    Card(
        name="prefix-tuning-zero",
        title="Prefix tuning, zero initialisation",
        family="prompt",
        peft_type="PREFIX_TUNING",
        variant_of="prefix-tuning",
        summary="Prefix tuning whose trained keys and values all start at zero.",
        paper=PREFIX_TUNING,
        config={"prefix_projection": False, "init_weights": "zero"},
        knobs={"num_virtual_tokens": 20},
        rate=published("MetaMathQA/prefixtuning/llama-3.2-3B-lr_0.005_zero_init", 5e-3, 5e-4, 5e-2),
        targets="none",
        virtual_tokens=True,
        limits=(TAKES_CONTEXT, PREFIX_CACHE, "zero keys still draw attention: the start is not the base"),
    ),
    Card(
        name="prefix-tuning-text",
        title="Prefix tuning, initialised from a text",
        family="prompt",
        peft_type="PREFIX_TUNING",
        variant_of="prefix-tuning",
        summary="Prefix tuning that starts from the keys and values the base itself computes for a text.",
        paper=PREFIX_TUNING,
        config={"prefix_projection": False, "init_weights": "zero"},
        knobs={"num_virtual_tokens": 20, "init_kv_cache_prefix": PREFIX_TEXT},
        rate=published("MetaMathQA/prefixtuning/llama-3.2-3B-tokens50-init_prefix-lr_0.005", 5e-3, 5e-4, 5e-2),
        targets="none",
        init="kv-prefix",
        virtual_tokens=True,
        needs=("a text of at least as many tokens as there are virtual ones, and the tokenizer",),
        limits=(TAKES_CONTEXT, PREFIX_CACHE),
    ),
    Card(
        name="prefix-tuning-projection",
        title="Prefix tuning with projection",
        family="prompt",
        peft_type="PREFIX_TUNING",
        variant_of="prefix-tuning",
        summary="Prefix tuning whose keys and values come out of a two-layer network, as in the paper.",
        paper=PREFIX_TUNING,
        config={"prefix_projection": True},
        knobs={"num_virtual_tokens": 20, "init_weights": "zero"},
        rate=chosen(1e-4, 1e-5, 1e-2, "as p-tuning, whose trained network is of the same kind and size"),
        targets="none",
        virtual_tokens=True,
        limits=(
            TAKES_CONTEXT,
            PREFIX_CACHE,
            "the projection is as large as several layers of the base",
        ),
    ),
    Card(
        name="cartridge",
        title="Cartridge",
        family="prompt",
        peft_type="CARTRIDGE",
        summary="Trains a stretch of key-value cache that began as a text's, its first token fixed.",
        paper=CARTRIDGES,
        knobs={"num_virtual_tokens": 20, "num_frozen_tokens": 1, "init_kv_cache_prefix": PREFIX_TEXT},
        rate=chosen(5e-3, 5e-4, 5e-2, "the rate of the published prefix tuning run that starts from a text"),
        targets="none",
        init="kv-prefix",
        virtual_tokens=True,
        needs=("a text of at least as many tokens as there are virtual ones, and the tokenizer",),
        limits=(
            TAKES_CONTEXT,
            PREFIX_CACHE,
            "trained here on the task's own loss; the paper distils from the base reading the whole text",
        ),
    ),
    Card(
        name="cpt",
        title="Context-aware prompt tuning (CPT)",
        family="prompt",
        peft_type="CPT",
        summary="Refines the embeddings of a few worked examples that stand in front of the input.",
        paper=Paper(
            title="Context-aware Prompt Tuning: Advancing In-Context Learning with Adversarial Methods",
            arxiv="2410.17222",
            year=2024,
        ),
        targets="none",
        virtual_tokens=True,
        needs=("token ids of worked examples", "a mask that tells input, template and label tokens apart"),
        refused="its examples and every batch need a mask of token kinds (input, template, label)",
    ),
    Card(
        name="llama-adapter",
        title="LLaMA-Adapter (adaption prompt)",
        family="prompt",
        peft_type="ADAPTION_PROMPT",
        summary="Adds a learned prompt to the top attention layers through a gate that starts closed.",
        paper=Paper(
            title="LLaMA-Adapter: Efficient Fine-tuning of Language Models with Zero-init Attention",
            arxiv="2303.16199",
            year=2023,
        ),
        knobs={"adapter_len": 20},
        rate=chosen(
            5e-3,
            5e-4,
            5e-2,
            "the better one of two published runs: 21.2 % at 5e-4, 38.4 % at 5e-3 (August 2026)",
        ),
        targets="own",
        needs=("adapter_layers, the number of layers from the top; all of them where it is not given",),
        limits=("Llama, Mistral and GPT-2 only", "attention is computed twice in every adapted layer"),
    ),
)
