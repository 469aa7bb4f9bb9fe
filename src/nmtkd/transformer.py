"""The arithmetic of a fairseq Transformer without its detours: same weights, same result, fewer passes over memory.

Works on the modules of fairseq's TransformerModel as they stand, plain or with gated feed-forward blocks, pre- or post-norm. Against the
stock forward pass: query, key and value come of one matrix product (keys and values of all decoder layers' cross-attention of another);
attention has no mask where a batch has no padding; random numbers of dropout are drawn once a pass, two bytes each; the decoder ends in
features, so that a loss need not keep logits.

Shapes: B sentences, S source and T target positions, C width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmtkd.attention import attend
from nmtkd.dropout import Dropout
from nmtkd.products import product


@dataclass(frozen=True)
class Encoded:
    """What the decoder reads: the encoder's output, and where its padding is (None where there is none)."""

    states_BSC: Tensor
    padding_BS: Tensor | None


def fits(model: Any) -> bool:
    """Whether a model is one whose arithmetic this module knows: without it the stock forward pass does the work."""
    cfg = getattr(model, "cfg", None)
    if cfg is None or not hasattr(model, "encoder") or not hasattr(model.decoder, "output_projection"):
        return False
    odd = (
        cfg.attention_dropout, cfg.activation_dropout, cfg.relu_dropout, cfg.encoder.layerdrop, cfg.decoder.layerdrop, cfg.quant_noise.pq,
        cfg.layernorm_embedding, cfg.adaptive_softmax_cutoff, cfg.adaptive_input, cfg.no_cross_attention, cfg.cross_self_attention,
        cfg.no_token_positional_embeddings, cfg.base_layers, cfg.no_decoder_final_norm,
    )  # fmt: skip
    same_width = cfg.encoder.embed_dim == cfg.decoder.embed_dim == cfg.decoder.output_dim == cfg.decoder.input_dim
    scaled = (getattr(cfg, name, False) for name in ("scale_attn", "scale_heads", "scale_resids", "scale_fc"))
    return same_width and not any(odd) and not any(scaled)


def features(model: Any, src_tokens: Tensor, prev_output_tokens: Tensor, **_: Any) -> Tensor:
    """The decoder's output [B, T, C], which model.decoder.output_layer turns into logits. Takes a batch's net_input."""
    return decode(model, prev_output_tokens, encode(model, src_tokens))


def project(model: Any, features_NC: Tensor) -> Tensor:
    """Logits [N, V] of features, without a gradient."""
    return product(features_NC, model.decoder.output_projection.weight)


def logits(model: Any, net_input: dict[str, Any]) -> Tensor:
    """The model's logits [B, T, V] for a batch's net_input; by the stock forward pass where the model is of another kind."""
    found: Tensor = model.decoder.output_layer(features(model, **net_input)) if fits(model) else model(**net_input)[0]
    return found


def encode(model: Any, src_BS: Tensor) -> Encoded:
    """The encoder's output. Dropout follows the model's mode."""
    encoder = model.encoder
    padding_BS = src_BS.eq(encoder.padding_idx)
    padding = padding_BS if bool(padding_BS.any()) else None
    dropout = Dropout(
        encoder.dropout_module.p if model.training else 0.0, src_BS, encoder.embed_tokens.embedding_dim, 1 + 2 * len(encoder.layers)
    )
    x_BSC = dropout(_embedded(encoder, src_BS))
    if padding is not None:
        x_BSC = x_BSC.masked_fill(padding.unsqueeze(-1), 0.0)  # as fairseq does: what stands there is seen by nobody, but must be finite
    mask = _mask(padding, x_BSC.dtype)
    for layer in encoder.layers:
        x_BSC = _self_attention(layer, x_BSC, dropout, mask, causal=False)
        x_BSC = _feed_forward(layer, x_BSC, dropout)
    if encoder.layer_norm is not None:
        x_BSC = encoder.layer_norm(x_BSC)
    return Encoded(x_BSC, padding)


def decode(model: Any, prefix_BT: Tensor, encoded: Encoded) -> Tensor:
    """The decoder's features [B, T, C] along given prefixes.

    Padding stands at the end of a prefix, where no real position looks (the mask is causal): it needs no mask of its own.
    """
    decoder = model.decoder
    dropout = Dropout(
        decoder.dropout_module.p if model.training else 0.0, prefix_BT, decoder.embed_tokens.embedding_dim, 1 + 3 * len(decoder.layers)
    )
    x_BTC = dropout(_embedded(decoder, prefix_BT))
    mask = _mask(encoded.padding_BS, x_BTC.dtype)
    read = _memories(decoder.layers, encoded.states_BSC)
    for layer, memory in zip(decoder.layers, read, strict=True):
        x_BTC = _self_attention(layer, x_BTC, dropout, None, causal=True)
        x_BTC = _cross_attention(layer, x_BTC, memory, dropout, mask)
        x_BTC = _feed_forward(layer, x_BTC, dropout)
    return x_BTC if decoder.layer_norm is None else decoder.layer_norm(x_BTC)


def _embedded(side: Any, tokens_BT: Tensor) -> Tensor:
    """Scaled embeddings and positions. fairseq counts positions from padding_idx + 1, padding left out."""
    return torch.add(side.embed_positions(tokens_BT), side.embed_tokens(tokens_BT), alpha=side.embed_scale)


def _mask(padding_BS: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What attention adds to its scores [B, 1, 1, S]."""
    if padding_BS is None:
        return None
    return torch.zeros(padding_BS.shape, dtype=dtype, device=padding_BS.device).masked_fill(padding_BS, -torch.inf)[:, None, None, :]


def _attended(attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool = False) -> Tensor:
    """Attention and its output projection [B, T, C]."""
    return attention.out_proj(attend(query, key, value, attention.num_heads, mask, causal=causal))


def _joined(projections: Sequence[Any], x: Tensor) -> Tensor:
    """Several linear layers of one input as one product."""
    return torch.nn.functional.linear(x, torch.cat([one.weight for one in projections]), torch.cat([one.bias for one in projections]))


def _self_attention(layer: Any, x_BTC: Tensor, dropout: Dropout, mask: Tensor | None, *, causal: bool) -> Tensor:
    attention, norm = layer.self_attn, layer.self_attn_layer_norm
    inner = norm(x_BTC) if layer.normalize_before else x_BTC
    query, key, value = _joined((attention.q_proj, attention.k_proj, attention.v_proj), inner).chunk(3, -1)
    x_BTC = dropout.add(_attended(attention, query, key, value, mask, causal=causal), x_BTC)
    return x_BTC if layer.normalize_before else norm(x_BTC)


def _memories(layers: Sequence[Any], states_BSC: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer's cross-attention."""
    projections = [one for layer in layers for one in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)]
    parts = _joined(projections, states_BSC).chunk(len(projections), -1)
    return list(zip(parts[::2], parts[1::2], strict=True))


def _cross_attention(layer: Any, x_BTC: Tensor, memory: tuple[Tensor, Tensor], dropout: Dropout, mask: Tensor | None) -> Tensor:
    attention, norm = layer.encoder_attn, layer.encoder_attn_layer_norm
    inner = norm(x_BTC) if layer.normalize_before else x_BTC
    x_BTC = dropout.add(_attended(attention, attention.q_proj(inner), *memory, mask), x_BTC)
    return x_BTC if layer.normalize_before else norm(x_BTC)


def _feed_forward(layer: Any, x_BTC: Tensor, dropout: Dropout) -> Tensor:
    inner = layer.final_layer_norm(x_BTC) if layer.normalize_before else x_BTC
    hidden = layer.activation_fn(layer.fc1(inner))
    if hasattr(layer.fc1, "opened"):
        layer.fc1.opened = layer.fc1.opened.transpose(0, 1)  # those who count gates read them as fairseq lays them out: [T, B, U]
    x_BTC = dropout.add(layer.fc2(hidden), x_BTC)
    return x_BTC if layer.normalize_before else layer.final_layer_norm(x_BTC)
