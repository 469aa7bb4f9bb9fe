"""Models for CTranslate2: what its own converter does for stock Transformers, from a model in memory, and for the gated one too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ctranslate2.converters import converter
from ctranslate2.converters import fairseq as stock
from ctranslate2.specs import TransformerSpec, common_spec

from nmtkd.models import fairseq_bridge as bridge


class InMemory(converter.Converter):
    """Converts a model as it stands."""

    def __init__(self, loaded: bridge.Loaded) -> None:
        self._loaded = loaded

    def _load(self) -> TransformerSpec:
        return specification(self._loaded)


class Converter(stock.FairseqConverter):
    """Converts a model's file."""

    def _load(self) -> TransformerSpec:
        return specification(bridge.load_model(Path(self._data_dir), "cpu", Path(self._model_path).name))


def specification(loaded: bridge.Loaded) -> TransformerSpec:
    """CTranslate2's form of a model: a gated block is a gated linear unit with a sigmoid, which its runtime knows."""
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
    words = stock._get_vocab(loaded.dictionary)
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.decoder_start_token = spec.config.eos_token
    spec.config.add_source_eos = True
    return spec


class _View:
    """A side of a model, or a layer, in which a gated block's first matrix is the gate: the half that the activation belongs to."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if name == "layers":
            return [_View(layer) for layer in found]
        return getattr(found, "gate", found) if name == "fc1" else found
