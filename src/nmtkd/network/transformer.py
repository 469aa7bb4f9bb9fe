"""A faster forward pass of fairseq's Transformer: same weights, same result, fewer passes over memory.

Works on the modules of fairseq's TransformerModel, plain or with gated feed-forward blocks, pre- or
post-norm. Differences from the stock forward pass:
- One matrix product gives query, key and value; another the keys and values of all cross-attentions.
- Attention has no mask where a batch has no padding.
- Dropout draws its random numbers once a pass, two bytes each.
- The decoder returns features, so that a loss need not keep logits.

Shapes: B sentences, S source and T target positions, C width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmtkd.network.attention import attend
from nmtkd.network.dropout import Dropout
from nmtkd.network.matmul import matmul_transposed


@dataclass(frozen=True)
class Encoded:
    """The encoder's output, and which positions are padding (None: no padding)."""

    states_BSC: Tensor
    padding_BS: Tensor | None


def fits(model: Any) -> bool:
    """Whether this module can compute the model; otherwise the stock forward pass must."""
    cfg = getattr(model, "cfg", None)
    if cfg is None or not hasattr(model, "encoder") or not hasattr(model.decoder, "output_projection"):
        return False
    unsupported = (
        cfg.attention_dropout, cfg.activation_dropout, cfg.relu_dropout,
        cfg.encoder.layerdrop, cfg.decoder.layerdrop, cfg.quant_noise.pq,
        cfg.layernorm_embedding, cfg.adaptive_softmax_cutoff, cfg.adaptive_input,
        cfg.no_cross_attention, cfg.cross_self_attention,
        cfg.no_token_positional_embeddings, cfg.base_layers, cfg.no_decoder_final_norm,
    )  # fmt: skip
    same_width = (
        cfg.encoder.embed_dim == cfg.decoder.embed_dim == cfg.decoder.output_dim == cfg.decoder.input_dim
    )
    scaled = (getattr(cfg, name, False) for name in ("scale_attn", "scale_heads", "scale_resids", "scale_fc"))
    return same_width and not any(unsupported) and not any(scaled)


def features(model: Any, src_tokens: Tensor, prev_output_tokens: Tensor, **_: Any) -> Tensor:
    """The decoder's features [B, T, C] for a batch's net_input; decoder.output_layer gives their logits."""
    return decode(model, prev_output_tokens, encode(model, src_tokens))


def project(model: Any, features_NC: Tensor) -> Tensor:
    """Logits [N, V] of features. No gradient flows through them."""
    return matmul_transposed(features_NC, model.decoder.output_projection.weight)


def logits(model: Any, net_input: dict[str, Any]) -> Tensor:
    """Logits [B, T, V] for a batch's net_input, by the stock forward pass if the model does not fit."""
    if fits(model):
        logits_BTV: Tensor = model.decoder.output_layer(features(model, **net_input))
    else:
        logits_BTV = model(**net_input)[0]
    return logits_BTV


def soften(logits: Sequence[Tensor], temperature: float) -> Tensor:
    """A teacher's soft targets [..., V] in float32: the mean over members of softmax(logits / T).

    `logits` holds one tensor [..., V] for each member.
    """
    probs = [torch.softmax(member.float() / temperature, dim=-1) for member in logits]
    return probs[0] if len(probs) == 1 else torch.stack(probs).mean(0)


def encode(model: Any, src_BS: Tensor) -> Encoded:
    """The encoder's output. Dropout follows the model's mode."""
    encoder = model.encoder
    padding_BS = src_BS.eq(encoder.padding_idx)
    padding = padding_BS if bool(padding_BS.any()) else None
    dropout = Dropout(
        encoder.dropout_module.p if model.training else 0.0,
        src_BS,
        encoder.embed_tokens.embedding_dim,
        1 + 2 * len(encoder.layers),
    )
    x_BSC = dropout(_embedded(encoder, src_BS))
    if padding is not None:
        # As in fairseq: no real position reads padding, but its values must be finite.
        x_BSC = x_BSC.masked_fill(padding.unsqueeze(-1), 0.0)
    mask = _mask(padding, x_BSC.dtype)
    for layer in encoder.layers:
        x_BSC = _self_attention(layer, x_BSC, dropout, mask, causal=False)
        x_BSC = _feed_forward(layer, x_BSC, dropout)
    if encoder.layer_norm is not None:
        x_BSC = encoder.layer_norm(x_BSC)
    return Encoded(x_BSC, padding)


def decode(model: Any, prefix_BT: Tensor, encoded: Encoded) -> Tensor:
    """The decoder's features [B, T, C] along given prefixes.

    Padding is at the end of a prefix and the mask is causal: no real position reads padding, and it needs no
    mask.
    """
    decoder = model.decoder
    dropout = Dropout(
        decoder.dropout_module.p if model.training else 0.0,
        prefix_BT,
        decoder.embed_tokens.embedding_dim,
        1 + 3 * len(decoder.layers),
    )
    x_BTC = dropout(_embedded(decoder, prefix_BT))
    mask = _mask(encoded.padding_BS, x_BTC.dtype)
    memories = _memories(decoder.layers, encoded.states_BSC)
    for layer, memory in zip(decoder.layers, memories, strict=True):
        x_BTC = _self_attention(layer, x_BTC, dropout, None, causal=True)
        x_BTC = _cross_attention(layer, x_BTC, memory, dropout, mask)
        x_BTC = _feed_forward(layer, x_BTC, dropout)
    return x_BTC if decoder.layer_norm is None else decoder.layer_norm(x_BTC)


def _embedded(side: Any, tokens_BT: Tensor) -> Tensor:
    """Scaled plus positional embeddings. fairseq counts positions from padding_idx + 1, without padding."""
    return torch.add(side.embed_positions(tokens_BT), side.embed_tokens(tokens_BT), alpha=side.embed_scale)


def _mask(padding_BS: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The additive attention mask [B, 1, 1, S]: 0, or -inf at padding."""
    if padding_BS is None:
        return None
    return torch.zeros(padding_BS.shape, dtype=dtype, device=padding_BS.device).masked_fill(
        padding_BS, -torch.inf
    )[:, None, None, :]


def _attended(
    attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool = False
) -> Tensor:
    """Attention and its output projection [B, T, C]."""
    return attention.out_proj(attend(query, key, value, attention.num_heads, mask, causal=causal))


def _joined(projections: Sequence[Any], x: Tensor) -> Tensor:
    """Several linear layers of one input, as one matrix product."""
    weight = torch.cat([projection.weight for projection in projections])
    return torch.nn.functional.linear(x, weight, torch.cat([projection.bias for projection in projections]))


def _self_attention(
    layer: Any, x_BTC: Tensor, dropout: Dropout, mask: Tensor | None, *, causal: bool
) -> Tensor:
    attention, norm = layer.self_attn, layer.self_attn_layer_norm
    inner = norm(x_BTC) if layer.normalize_before else x_BTC
    query, key, value = _joined((attention.q_proj, attention.k_proj, attention.v_proj), inner).chunk(3, -1)
    x_BTC = dropout.add(_attended(attention, query, key, value, mask, causal=causal), x_BTC)
    return x_BTC if layer.normalize_before else norm(x_BTC)


def _memories(layers: Sequence[Any], states_BSC: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer's cross-attention."""
    attentions = [layer.encoder_attn for layer in layers]
    projections = [
        projection for attention in attentions for projection in (attention.k_proj, attention.v_proj)
    ]
    parts = _joined(projections, states_BSC).chunk(len(projections), -1)
    return list(zip(parts[::2], parts[1::2], strict=True))


def _cross_attention(
    layer: Any, x_BTC: Tensor, memory: tuple[Tensor, Tensor], dropout: Dropout, mask: Tensor | None
) -> Tensor:
    attention, norm = layer.encoder_attn, layer.encoder_attn_layer_norm
    inner = norm(x_BTC) if layer.normalize_before else x_BTC
    x_BTC = dropout.add(_attended(attention, attention.q_proj(inner), *memory, mask), x_BTC)
    return x_BTC if layer.normalize_before else norm(x_BTC)


def _feed_forward(layer: Any, x_BTC: Tensor, dropout: Dropout) -> Tensor:
    inner = layer.final_layer_norm(x_BTC) if layer.normalize_before else x_BTC
    hidden = layer.activation_fn(layer.fc1(inner))
    if hasattr(layer.fc1, "opened"):
        # gated.open_units expects fairseq's layout: [T, B, U].
        layer.fc1.opened = layer.fc1.opened.transpose(0, 1)
    x_BTC = dropout.add(layer.fc2(hidden), x_BTC)
    return x_BTC if layer.normalize_before else layer.final_layer_norm(x_BTC)
