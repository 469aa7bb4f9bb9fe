"""Conversion to CTranslate2: as its own converter, but also for models in memory and gated Transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ctranslate2.converters import converter
from ctranslate2.converters import fairseq as stock
from ctranslate2.specs import TransformerSpec, common_spec

from nmtkd.network import fairseq_bridge as bridge


class InMemory(converter.Converter):
    """Converts a model in memory."""

    def __init__(self, loaded: bridge.Loaded) -> None:
        self._loaded = loaded

    def _load(self) -> TransformerSpec:
        return specification(self._loaded)


class Converter(stock.FairseqConverter):
    """Converts a model file."""

    def _load(self) -> TransformerSpec:
        return specification(bridge.load_model(Path(self._data_dir), "cpu", Path(self._model_path).name))


def specification(loaded: bridge.Loaded) -> TransformerSpec:
    """CTranslate2's specification of a model. A gated block becomes its gated linear unit with a sigmoid."""
    cfg, model = loaded.model.cfg, loaded.model
    gated = hasattr(model.encoder.layers[0].fc1, "gate")
    spec = TransformerSpec.from_config(
        (cfg.encoder.layers, cfg.decoder.layers),
        cfg.encoder.attention_heads,
        pre_norm=cfg.encoder.normalize_before,
        activation=common_spec.Activation.Sigmoid if gated else common_spec.Activation.RELU,
        ffn_glu=gated,
    )
    with torch.no_grad():
        stock.set_transformer_encoder(spec.encoder, _View(model.encoder))
        stock.set_transformer_decoder(spec.decoder, _View(model.decoder))
        for side in ("encoder", "decoder") if gated else ():
            for layer, layer_spec in zip(getattr(model, side).layers, getattr(spec, side).layer, strict=True):
                stock.set_linear(layer_spec.ffn.linear_0_noact, layer.fc1.value)
    spec.register_source_vocabulary(stock._get_vocab(loaded.source_dictionary))
    spec.register_target_vocabulary(stock._get_vocab(loaded.dictionary))
    spec.config.decoder_start_token = spec.config.eos_token
    spec.config.add_source_eos = True
    return spec


class _View:
    """A side of a model, or a layer, whose `fc1` is the gate where blocks are gated.

    CTranslate2 applies the activation to that matrix.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if name == "layers":
            return [_View(layer) for layer in value]
        return getattr(value, "gate", value) if name == "fc1" else value
