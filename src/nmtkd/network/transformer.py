"""A faster forward pass of fairseq's Transformer: same weights, same result, fewer passes over memory.

Works on the modules of fairseq's TransformerModel, plain or with gated feed-forward blocks, pre- or
post-norm. Differences from the stock forward pass:
- One matrix product gives query, key and value; another the keys and values of all cross-attentions.
- Attention has no mask where a batch has no padding.
- Dropout draws its random numbers once a pass, two bytes each.
- The decoder returns features, so that a loss need not keep logits.
- Where a batch comes packed, no product has a row of padding.

Shapes: B sentences, S source and T target positions, C width, F feed-forward units; N rows (rows.py): B S or
B T, in a half type on a CPU some of zeros too (precision.py); of a packed text one for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmtkd.network.dropout import Dropout
from nmtkd.network.precision import as_written, exact, linear, normalised, padded, wanted
from nmtkd.network.rows import PackedText, Padded, Rows


@dataclass(frozen=True)
class Encoded:
    """The encoder's output, and which positions are padding (None: no padding)."""

    states_NC: Tensor
    rows: Padded
    padding_BS: Tensor | None

    @property
    def states_BSC(self) -> Tensor:  # noqa: N802
        """The states by sentence."""
        return self.rows.by_sentence(self.states_NC)


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
    softened = [member.float() if temperature == 1.0 else member.float() / temperature for member in logits]
    probs = [torch.softmax(member, dim=-1) for member in softened]
    return probs[0] if len(probs) == 1 else torch.stack(probs).mean(0)


def encode(model: Any, src_BS: Tensor) -> Encoded:
    """The encoder's output. Dropout follows the model's mode."""
    encoder = model.encoder
    padding_BS = src_BS.eq(encoder.padding_idx)
    padding = padding_BS if bool(padding_BS.any()) else None
    x_BSC = _embedded(encoder, src_BS)
    if padding is not None:
        # As in fairseq: no real position reads padding, but its values must be finite.
        x_BSC = x_BSC.masked_fill(padding.unsqueeze(-1), 0.0)
    with as_written(x_BSC):
        x_NC = padded(x_BSC.flatten(0, 1))
        rows = Padded(src_BS.shape, _mask(padding, exact(x_NC.dtype)))
        return Encoded(_encoded(model, x_NC, rows), rows, padding)


def decode(model: Any, prefix_BT: Tensor, encoded: Encoded) -> Tensor:
    """The decoder's features [B, T, C] along given prefixes.

    Padding is at the end of a prefix and the mask is causal: no real position reads padding, and it needs no
    mask.
    """
    x_BTC = _embedded(model.decoder, prefix_BT)
    with as_written(x_BTC):
        rows = Padded(prefix_BT.shape, None)
        x_NC = _decoded(model, padded(x_BTC.flatten(0, 1)), rows, encoded.states_NC, encoded.rows)
    return rows.by_sentence(x_NC)


def packs(model: Any) -> bool:
    """Whether `packed_features` can compute the model: one that `fits`, without gates."""
    return (
        fits(model)
        and not any(hasattr(layer.fc1, "opened") for layer in model.encoder.layers)
        and all(hasattr(side.embed_positions, "weights") for side in (model.encoder, model.decoder))
    )


def packed_features(model: Any, source: PackedText, prefix: PackedText) -> Tensor:
    """The decoder's features [N, C] of a packed text, as `features` has them of the same positions."""
    x_MC, x_NC = (
        _packed_embedded(side, text) for side, text in ((model.encoder, source), (model.decoder, prefix))
    )
    with as_written(x_NC):
        return _decoded(model, x_NC, prefix.rows, _encoded(model, x_MC, source.rows), source.rows)


def _encoded(model: Any, x_NC: Tensor, rows: Rows) -> Tensor:
    encoder = model.encoder
    dropout = _dropout(model, encoder, x_NC, 1 + 2 * len(encoder.layers))
    x_NC = dropout(x_NC)
    for layer in encoder.layers:
        x_NC = _self_attention(layer, x_NC, rows, dropout, causal=False)
        x_NC = _feed_forward(layer, x_NC, rows, dropout)
    return x_NC if encoder.layer_norm is None else normalised(encoder.layer_norm, x_NC)


def _decoded(model: Any, x_NC: Tensor, rows: Rows, states_MC: Tensor, source: Rows) -> Tensor:
    decoder = model.decoder
    dropout = _dropout(model, decoder, x_NC, 1 + 3 * len(decoder.layers))
    x_NC = dropout(x_NC)
    memories = _memories(decoder.layers, states_MC)
    for layer, memory in zip(decoder.layers, memories, strict=True):
        x_NC = _self_attention(layer, x_NC, rows, dropout, causal=True)
        x_NC = _cross_attention(layer, x_NC, rows, memory, source, dropout)
        x_NC = _feed_forward(layer, x_NC, rows, dropout)
    return x_NC if decoder.layer_norm is None else normalised(decoder.layer_norm, x_NC)


def _embedded(side: Any, tokens_BT: Tensor) -> Tensor:
    """Scaled plus positional embeddings, in the type of products.

    fairseq counts positions from padding_idx + 1, without padding.
    """
    x_BTC = torch.add(side.embed_positions(tokens_BT), side.embed_tokens(tokens_BT), alpha=side.embed_scale)
    return x_BTC.to(wanted(x_BTC))


def _packed_embedded(side: Any, text: PackedText) -> Tensor:
    """The same of a packed text [N, C]."""
    x_NC = torch.add(
        side.embed_positions.weights.index_select(0, text.positions_N),
        side.embed_tokens(text.tokens_N),
        alpha=side.embed_scale,
    )
    return x_NC.to(wanted(x_NC))


def _dropout(model: Any, side: Any, x_NC: Tensor, places: int) -> Dropout:
    """All dropouts of a pass through one side."""
    return Dropout(side.dropout_module.p if model.training else 0.0, x_NC, places)


def _mask(padding_BS: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The additive attention mask [B, 1, 1, S]: 0, or -inf at padding."""
    if padding_BS is None:
        return None
    return torch.zeros(padding_BS.shape, dtype=dtype, device=padding_BS.device).masked_fill(
        padding_BS, -torch.inf
    )[:, None, None, :]


def _joined(projections: Sequence[Any], x_NC: Tensor) -> tuple[Tensor, ...]:
    """Several linear layers of one input, as one matrix product."""
    weight = torch.cat([projection.weight for projection in projections]).to(x_NC.dtype)
    bias = torch.cat([projection.bias for projection in projections]).to(x_NC.dtype)
    return torch.nn.functional.linear(x_NC, weight, bias).chunk(len(projections), -1)


def _self_attention(layer: Any, x_NC: Tensor, rows: Rows, dropout: Dropout, *, causal: bool) -> Tensor:
    attention, norm = layer.self_attn, layer.self_attn_layer_norm
    inner_NC = normalised(norm, x_NC) if layer.normalize_before else x_NC
    query, key, value = _joined((attention.q_proj, attention.k_proj, attention.v_proj), inner_NC)
    attended_NC = rows.attend(query, key, value, rows, attention.num_heads, causal=causal)
    x_NC = dropout.add(linear(attention.out_proj, padded(attended_NC)), x_NC)
    return x_NC if layer.normalize_before else normalised(norm, x_NC)


def _memories(layers: Sequence[Any], states_MC: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer's cross-attention."""
    attentions = [layer.encoder_attn for layer in layers]
    projections = [
        projection for attention in attentions for projection in (attention.k_proj, attention.v_proj)
    ]
    parts = _joined(projections, states_MC)
    return list(zip(parts[::2], parts[1::2], strict=True))


def _cross_attention(
    layer: Any,
    x_NC: Tensor,
    rows: Rows,
    memory: tuple[Tensor, Tensor],
    source: Rows,
    dropout: Dropout,
) -> Tensor:
    attention, norm = layer.encoder_attn, layer.encoder_attn_layer_norm
    inner_NC = normalised(norm, x_NC) if layer.normalize_before else x_NC
    query_NC = linear(attention.q_proj, inner_NC)
    attended_NC = rows.attend(query_NC, *memory, source, attention.num_heads, causal=False)
    x_NC = dropout.add(linear(attention.out_proj, padded(attended_NC)), x_NC)
    return x_NC if layer.normalize_before else normalised(norm, x_NC)


def _feed_forward(layer: Any, x_NC: Tensor, rows: Rows, dropout: Dropout) -> Tensor:
    norm = layer.final_layer_norm
    inner_NC = normalised(norm, x_NC) if layer.normalize_before else x_NC
    gated = hasattr(layer.fc1, "opened")
    hidden_NF = layer.activation_fn(layer.fc1(inner_NC) if gated else linear(layer.fc1, inner_NC))
    if gated:
        # gated.open_units expects fairseq's layout: [T, B, U].
        layer.fc1.opened = rows.by_sentence(layer.fc1.opened).transpose(0, 1)
    x_NC = dropout.add(linear(layer.fc2, hidden_NF), x_NC)
    return x_NC if layer.normalize_before else normalised(norm, x_NC)
