"""All workloads of the layout bench, by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import layout_others as others
import layout_transformers as transformers

from mxc.passes.layout.problem import Problem

Maker = Callable[[], Problem]

INFERENCE: Mapping[str, Maker] = {
    "llama": transformers.llama_inference,
    "attention": transformers.attention_core,
    "mixer": others.mixer,
    "linear-attention": transformers.linear_attention,
    "chunked-attention": transformers.chunked_attention,
    "evoformer": others.evoformer,
    "monarch": others.monarch,
    "tied": transformers.tied_embeddings,
}

OPTIMISERS: Mapping[str, Maker] = {
    "gram": others.gram_pair,
    "muon": others.newton_schulz,
    "muon-symmetric": lambda: others.newton_schulz(symmetric=True),
}

TRAINING: Mapping[str, Maker] = {
    "tied-train": lambda: transformers.tied_embeddings(train=True),
    "clip-train": others.contrastive_head,
    "attention-train": lambda: transformers.attention_core(train=True),
    "mlp-train": others.mlp_training,
    "llama-train": transformers.llama_training,
    "llama-lora": lambda: transformers.llama_training(lora=True),
    "moe-train": transformers.mixture_of_experts,
    "conv-train": others.conv_training,
    "mixer-train": lambda: others.mixer(train=True),
    "parallel-mixer-train": others.parallel_mixer,
}

GROUPS: Mapping[str, Mapping[str, Maker]] = {
    "inference": INFERENCE,
    "optimisers": OPTIMISERS,
    "training": TRAINING,
}

ALL: Mapping[str, Maker] = {name: make for group in GROUPS.values() for name, make in group.items()}
