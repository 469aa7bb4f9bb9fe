"""Converting a model for CTranslate2: the library's own converter, taught the gated Transformer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from ctranslate2.converters import fairseq as stock
from ctranslate2.specs import TransformerSpec, common_spec

from nmtkd.models import fairseq_bridge as bridge


class Converter(stock.FairseqConverter):
    """Stock models as the library converts them; gated ones as gated linear units with a sigmoid, which its runtime knows."""

    def _load(self) -> Any:
        checkpoint = torch.load(self._model_path, map_location="cpu", weights_only=True)
        model_arguments = checkpoint["cfg"]["model"]
        if model_arguments.arch != bridge.GATED:
            return super()._load()
        return self._gated(model_arguments)

    def _gated(self, arguments: argparse.Namespace) -> Any:
        loaded = bridge.load_model(Path(self._data_dir), "cpu")
        spec = TransformerSpec.from_config(
            (arguments.encoder_layers, arguments.decoder_layers),
            arguments.encoder_attention_heads,
            pre_norm=arguments.encoder_normalize_before,
            activation=common_spec.Activation.Sigmoid,
            ffn_glu=True,
        )
        with torch.no_grad():
            for side in ("encoder", "decoder"):
                for layer, layer_spec in zip(getattr(loaded.model, side).layers, getattr(spec, side).layer, strict=True):
                    stock.set_linear(layer_spec.ffn.linear_0_noact, layer.fc1.value)
                    layer.fc1 = layer.fc1.gate  # the half that the activation belongs to: where the stock functions look for it
            stock.set_transformer_encoder(spec.encoder, loaded.model.encoder)
            stock.set_transformer_decoder(spec.decoder, loaded.model.decoder)
        words = stock._get_vocab(loaded.dictionary)
        spec.register_source_vocabulary(words)
        spec.register_target_vocabulary(words)
        spec.config.decoder_start_token = spec.config.eos_token
        spec.config.add_source_eos = True
        return spec
