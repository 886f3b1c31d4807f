"""EMIM: attention to a small neighbourhood in the next frame, whose affinities are also read as motion.

Paper: "A Renaissance of Explicit Motion Information Mining from Transformers for Action Recognition" (arXiv 2510.18705).
The method has no equation numbers of its own here; with queries Q, keys K, values V of one head of size d, offsets delta_k of
a w x w window (rows outer, columns inner) and a learnt bias b of each head and offset:

    A[t, p, k] = d^-0.5 <Q[t, p], K[t + 1, p + delta_k]> + b[k]          the cost volume
    F[t, p]    = sum_k softmax_k(A[t, p])[k] V[t + 1, p + delta_k]       what is there: appearance
    M[t, p]    = g(A[t, p])                                              where it went: motion; g is shared by all heads
    output     = projection(heads side by side of F + M)

In reading order: the pairs of offset and place that lie outside the map, three forms of the operator that agree to rounding
(`dense`, `shifted`, `unfold`), the motion network g, and the attention that takes the place of every second global attention
of a UniFormer (`palmist.models.uniformer`).

Numbered deviations, and why:

1. The formula is computed in full. The authors' kernels are built for heads of 32 channels and run with 64, which leaves half
   of each head's appearance and gradients at zero; no kernel is needed here.
2. Any number of frames and any map, not 16 or 32 square frames. A single frame, which has no next one, is compared with
   itself.
3. `border` "masked" is an option: the published form ("padded") surrounds keys and values with the constant 1e-6, and these
   places take part in the softmax. Masked, they have no weight, and g sees 0 for them. The two are not equivalent.
4. `last_frame` "own" is an option: the published form ("copy") gives the last frame the result of the frame before it.
   With "own" the last frame is compared with itself.
5. `motion` False leaves M out: the ablation.
6. `motion_start` "matched" is an option for training from scratch; the published one is "zero". Keys start equal to queries, of
   unit variance, so that A compares places from the first step on, and g starts at random. On the direction task (one seed, 200
   steps of 16 clips) 0.97 of the training clips were right with it, 0.49 with g at random and unrelated queries and keys.

Letters: B batch, T frames, H, W rows and columns of the map, E heads, d channels of a head, C = E d, w window, K = w w.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.layers import Linear, affine

__all__ = ["FORMS", "MotionAttention", "MotionNetwork", "choose_form", "displacements", "motion_attention"]

FORMS = ("dense", "shifted", "unfold")
BORDERS = ("padded", "masked")
LAST_FRAMES = ("copy", "own")
STARTS = ("zero", "matched")
WINDOWS = (3, 5, 7, 9, 11)
PAD = 1e-6


@lru_cache(maxsize=64)
def neighbours(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """(H W, K) int64: the place p + delta_k as row * W + column, or H W where it lies outside the map."""
    with torch.inference_mode(False):
        reach = window // 2
        offset = torch.arange(-reach, reach + 1, device=device)
        row = torch.arange(height, device=device)[:, None] + offset  # (H, w)
        column = torch.arange(width, device=device)[:, None] + offset  # (W, w)
        row, column = row[:, None, :, None], column[None, :, None, :]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)  # (H, W, w, w)
        place = torch.where(inside, row * width + column, height * width)
        return place.reshape(height * width, window * window)


def choose_form(height: int, width: int, window: int, gradients: bool = False) -> str:
    """The form that is fastest for this map, as measured on one CPU thread.

    A product of all pairs of places is cheap until far more of the pairs lie outside the windows than inside, and its
    gradients are cheaper than those of w w slides.
    """
    pairs_in_windows = height * width * window * window
    return "dense" if (height * width) ** 2 <= (12 if gradients else 5) * pairs_in_windows else "shifted"


def motion_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, border: str = "padded", form: str | None = None
) -> tuple[Tensor, Tensor]:
    """The cost volume of pairs of frames, and what it gathers.

    Args:
        query: (B, E, T, H, W, d) of each pair's first frame; key, value: the same of its second frame.
        bias: (E, w, w), w odd: rows, then columns of the offset.
        border: "padded" (places outside the map hold 1e-6) or "masked" (they do not count).
        form: "dense", "shifted" or "unfold": the same numbers by other ways; None takes the fastest (`choose_form`).

    Returns:
        affinity A (B, E, T, H, W, K) before the softmax, and appearance F (B, E, T, H, W, d). Masked entries of A are 0.

    Raises:
        InputError: shapes that do not fit, an unknown border or form.

    Example:
        >>> frames = torch.randn(2, 5, 7, 14, 14, 64)
        >>> affinity, appearance = motion_attention(frames, frames, frames, torch.zeros(5, 7, 7))
        >>> affinity.shape, appearance.shape
        (torch.Size([2, 5, 7, 14, 14, 49]), torch.Size([2, 5, 7, 14, 14, 64]))
    """
    if query.dim() != 6 or not query.shape == key.shape == value.shape:
        raise InputError(
            f"query, key and value have shapes {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}; "
            "expected (B, E, T, H, W, d) for all three"
        )
    window = bias.shape[-1]
    if tuple(bias.shape) != (query.shape[1], window, window) or window % 2 == 0:
        raise InputError(f"bias has shape {tuple(bias.shape)}; expected ({query.shape[1]}, w, w) with an odd w")
    if border not in BORDERS:
        raise InputError(f"border is '{border}'; expected one of {', '.join(BORDERS)}")
    if form is None:
        form = choose_form(query.shape[3], query.shape[4], window, torch.is_grad_enabled() and query.requires_grad)
    if form not in FORMS:
        raise InputError(f"form is '{form}'; expected one of {', '.join(FORMS)}")
    query = query * query.shape[-1] ** -0.5
    compute = {"dense": _dense, "shifted": _shifted, "unfold": _unfold}[form]
    return compute(query, key, value, bias, border == "masked")


def _dense(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """All pairs of places in one product, of which the windows are picked; and the way back."""
    B, E, T, H, W, d = query.shape
    window = bias.shape[-1]
    N, K = H * W, window * window
    index = neighbours(H, W, window, query.device)  # (N, K)
    outside = index == N
    query, key, value = (part.reshape(B * E * T, N, d) for part in (query, key, value))
    scores = query @ key.transpose(1, 2)  # (B E T, N, N)
    affinity = scores.gather(-1, index.clamp_max(N - 1).expand(B * E * T, N, K))
    beyond = PAD * query.sum(-1, keepdim=True)  # what a key outside the map, PAD in every channel, has
    affinity = torch.where(outside, beyond, affinity).view(B, E, T, H, W, K) + bias.view(E, 1, 1, 1, K)
    affinity, weight = _weights(affinity, window, masked)
    weight = weight.view(B * E * T, N, K)
    # Column N collects what lies outside, where the value is zero; all of it is worth PAD in every channel.
    columns = -(-(N + 1) // 16) * 16  # an even length makes the product faster
    spread = weight.new_zeros(B * E * T, N, columns).scatter_(-1, index.expand(B * E * T, N, K), weight)
    gathered = spread @ F.pad(value, (0, 0, 0, columns - N)) + PAD * (weight * outside).sum(-1, keepdim=True)
    return affinity, gathered.view(B, E, T, H, W, d)


def _surround(part: Tensor, window: int) -> Tensor:
    """A map with a border of w // 2 places: (..., H, W, d) -> (..., H + w - 1, W + w - 1, d)."""
    reach = window // 2
    return F.pad(part, (0, 0, reach, reach, reach, reach), value=PAD)


def _weights(affinity: Tensor, window: int, masked: bool) -> tuple[Tensor, Tensor]:
    """Softmax over the K offsets in float32, and the affinities as they are returned."""
    if not masked:
        return affinity, affinity.float().softmax(-1).to(affinity.dtype)
    H, W, K = affinity.shape[-3:]
    outside = (neighbours(H, W, window, affinity.device) == H * W).view(H, W, K)
    weight = affinity.float().masked_fill(outside, float("-inf")).softmax(-1).to(affinity.dtype)
    return affinity.masked_fill(outside, 0.0), weight


def _shifted(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """Offset by offset: the map slides over its neighbour."""
    H, W = query.shape[3:5]
    window = bias.shape[-1]
    key, value = _surround(key, window), _surround(value, window)
    slides = [(slice(dy, dy + H), slice(dx, dx + W)) for dy in range(window) for dx in range(window)]
    planes = [(query * key[..., rows, columns, :]).sum(-1) for rows, columns in slides]
    affinity = torch.stack(planes, dim=-1) + bias.view(bias.shape[0], 1, 1, 1, -1)  # (B, E, T, H, W, K)
    affinity, weight = _weights(affinity, window, masked)
    gathered = torch.zeros_like(query)
    for number, (rows, columns) in enumerate(slides):
        gathered = torch.addcmul(gathered, weight[..., number : number + 1], value[..., rows, columns, :])
    return affinity, gathered


def _unfold(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """Every place with its whole neighbourhood beside it: the textbook form, K times the memory."""
    B, E, T, H, W, d = query.shape
    window = bias.shape[-1]
    K = window * window
    key, value = (
        _surround(part, window).unfold(3, window, 1).unfold(4, window, 1).reshape(-1, d, K) for part in (key, value)
    )  # (B E T H W, d, K)
    affinity = torch.bmm(query.reshape(-1, 1, d), key).view(B, E, T, H, W, K) + bias.view(E, 1, 1, 1, K)
    affinity, weight = _weights(affinity, window, masked)
    gathered = torch.bmm(value, weight.reshape(-1, K, 1)).view(B, E, T, H, W, d)
    return affinity, gathered


class MotionNetwork(nn.Module):
    """g: the K affinities of a place to a motion feature of d channels, hidden width 4 K, x sigmoid(1.702 x) between.

    With `start` "zero" its last layer is zero at first: a block begins without motion, and pretrained neighbours see what they
    know. See deviation 6 for "matched".
    """

    def __init__(self, window: int, head_size: int, start: str = "zero") -> None:
        super().__init__()
        offsets = window * window
        self.enter = Linear(offsets, 4 * offsets)
        self.leave = Linear(4 * offsets, head_size)
        nn.init.xavier_uniform_(self.enter.weight)
        nn.init.xavier_uniform_(self.leave.weight)
        for parameter in (self.enter.bias, self.leave.bias, *((self.leave.weight,) if start == "zero" else ())):
            nn.init.zeros_(parameter)

    def forward(self, affinity: Tensor) -> Tensor:
        """(B, E, T, H, W, K) -> (B, E, T, H, W, d)."""
        places = affinity.reshape(affinity.shape[0], -1, affinity.shape[-1])  # (B, E T H W, K)
        # x sigmoid(1.702 x) = silu(1.702 x) / 1.702, with both factors moved into the small matrices.
        hidden = F.silu(affine(places, 1.702 * self.enter.weight, 1.702 * self.enter.bias))
        motion = affine(hidden, self.leave.weight / 1.702, self.leave.bias)
        return motion.view(*affinity.shape[:-1], -1)


class MotionAttention(nn.Module):
    """EMIM's attention: a drop-in for UniFormer's global attention, with its parameters (`qkv`, `proj`) and two more
    (`position_bias`, `motion`).

    Args:
        width, heads: C and E.
        window: w, odd, 3 to 11. border, last_frame, motion, motion_start: deviations 3 to 6. form: see `motion_attention`.

    Raises InputError for a value that does not fit.

    Example:
        >>> attention = MotionAttention(320, 5)
        >>> attention(torch.randn(2, 16 * 14 * 14, 320), (16, 14, 14)).shape
        torch.Size([2, 3136, 320])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int = 7,
        border: str = "padded",
        last_frame: str = "copy",
        motion: bool = True,
        motion_start: str = "zero",
        form: str | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise InputError(f"width {width} cannot be split into {heads} heads; choose a width that is a multiple of {heads}")
        if window not in WINDOWS:
            raise InputError(f"window is {window}; expected one of {', '.join(map(str, WINDOWS))}")
        choices = (
            ("border", border, BORDERS),
            ("last_frame", last_frame, LAST_FRAMES),
            ("motion_start", motion_start, STARTS),
        )
        for what, found, known in choices:
            if found not in known:
                raise InputError(f"{what} is '{found}'; expected one of {', '.join(known)}")
        self.heads, self.border, self.last_frame, self.form = heads, border, last_frame, form
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.position_bias = nn.Parameter(torch.empty(heads, window, window))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        self.motion = MotionNetwork(window, width // heads, motion_start) if motion else None
        self.motion_start = motion_start
        self.start_matched()

    @torch.no_grad()
    def start_matched(self) -> None:
        """Deviation 6, where it is chosen: queries and keys are one random projection of unit variance."""
        if self.motion_start == "matched":
            width = self.qkv.in_features
            nn.init.normal_(self.qkv.weight[:width], std=width**-0.5)
            self.qkv.weight[width : 2 * width] = self.qkv.weight[:width]
            nn.init.zeros_(self.qkv.bias)

    def forward(self, tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """tokens (B, T H W, C) in the order frame, row, column; grid (T, H, W) -> (B, T H W, C)."""
        B, N, C = tokens.shape
        T = grid[0]
        affinity, mixed = self.cost_volume(tokens, grid)
        if self.motion is not None:
            mixed = mixed + self.motion(affinity).to(mixed.dtype)
        if mixed.shape[2] < T:
            mixed = torch.cat((mixed, mixed[:, :, -1:]), dim=2)
        joined = mixed.permute(0, 2, 3, 4, 1, 5).reshape(B, N, C)
        result: Tensor = self.proj(joined)
        return result

    def cost_volume(self, tokens: Tensor, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Affinity (B, E, T', H, W, K) and appearance (B, E, T', H, W, d) of `motion_attention`; T' is T - 1 where the last
        frame is a copy, else T."""
        B, N, C = tokens.shape
        T, H, W = grid
        if T * H * W != N:
            raise InputError(f"{N} tokens do not make {T} x {H} x {W} frames, rows and columns; expected {T * H * W}")
        parts = self.qkv(tokens).view(B, T, H, W, 3, self.heads, C // self.heads)
        query, key, value = parts.permute(4, 0, 5, 1, 2, 3, 6).unbind(0)  # (B, E, T, H, W, d) each
        if T > 1:
            later = [part[:, :, 1:] for part in (key, value)]
            if self.last_frame == "copy":
                query, (key, value) = query[:, :, :-1], later
            else:
                key, value = (torch.cat((next_ones, next_ones[:, :, -1:]), dim=2) for next_ones in later)
        return motion_attention(query, key, value, self.position_bias, self.border, self.form)


def displacements(affinity: Tensor) -> Tensor:
    """Where each place looks in the next frame: the mean offset under the softmax of its affinities, over heads.

    affinity (B, E, T, H, W, K) -> (B, T, H, W, 2), x to the right and y down, in places of the map.
    """
    reach = math.isqrt(affinity.shape[-1]) // 2
    offset = torch.arange(-reach, reach + 1, dtype=affinity.dtype, device=affinity.device)
    rows, columns = torch.meshgrid(offset, offset, indexing="ij")
    weight = affinity.softmax(-1).mean(1)  # (B, T, H, W, K)
    return weight @ torch.stack((columns.flatten(), rows.flatten()), dim=-1)
