"""The Triton kernel of sampling: a program a row, which every pass reads anew from the cache.

Nothing of a row is written down. What the filters leave is a few numbers: by top-k, gaps below
`limit` and those equal to it up to index `last`; by top-p, of them, weights above `least` and those
equal to it up to index `until`.
"""

import triton
import triton.language as tl

INFINITY_BITS = tl.constexpr(0x7F800000)


@triton.jit
def sample_kernel(
    logits_ptr,
    uniforms_ptr,
    tokens_ptr,
    log_probs_ptr,
    SIZE: tl.constexpr,
    BITS: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PER_TEMPERATURE: tl.constexpr,
    TOP_K: tl.constexpr,
    TOP_P: tl.constexpr,
    WIDEST: tl.constexpr,
):
    """A token and its log-probability; PER_TEMPERATURE is 1 / temperature, WIDEST min_p's gap."""
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * SIZE
    highest = highest_logit(logits_ptr, SIZE, TILE)

    limit, last = float("inf"), SIZE
    if TOP_K > 0:
        limit, last = top_k_limit(logits_ptr, highest, SIZE, BITS, TILE, PER_TEMPERATURE, TOP_K)
    least, until = 0.0, SIZE
    if TOP_P < 1:
        least, until = top_p_limit(
            logits_ptr, highest, limit, last, SIZE, BITS, TILE, PER_TEMPERATURE, TOP_P
        )

    total = 0.0
    for start in range(0, SIZE, TILE):
        index = start + tl.arange(0, TILE)
        gap = gaps(logits_ptr, index, highest, limit, last, SIZE, PER_TEMPERATURE)
        weight = weights(gap, index, least, until, WIDEST)
        total += tl.sum(tl.sum(tl.reshape(weight, (TILE // BLOCK, BLOCK)), axis=1), axis=0)

    # The last block with any weight that starts by the uniform's share of it all.
    target = tl.load(uniforms_ptr + 2 * row) * total
    block = 0
    before = 0.0
    for start in range(0, SIZE, TILE):
        index = start + tl.arange(0, TILE)
        gap = gaps(logits_ptr, index, highest, limit, last, SIZE, PER_TEMPERATURE)
        weight = weights(gap, index, least, until, WIDEST)
        mass = tl.sum(tl.reshape(weight, (TILE // BLOCK, BLOCK)), axis=1)
        starts = before + (tl.cumsum(mass, axis=0) - mass)
        number = start // BLOCK + tl.arange(0, TILE // BLOCK)
        hit = (mass > 0) & (starts <= target)
        block = tl.maximum(block, tl.max(tl.where(hit, number, 0), axis=0))
        before += tl.sum(mass, axis=0)

    # And so inside the block.
    lane = tl.arange(0, BLOCK)
    index = block * BLOCK + lane
    gap = gaps(logits_ptr, index, highest, limit, last, SIZE, PER_TEMPERATURE)
    weight = weights(gap, index, least, until, WIDEST)
    target = tl.load(uniforms_ptr + 2 * row + 1) * tl.sum(weight, axis=0)
    hit = (weight > 0) & (tl.cumsum(weight, axis=0) - weight <= target)
    inside = tl.max(tl.where(hit, lane, 0), axis=0)
    drawn = tl.sum(tl.where(lane == inside, gap, 0.0), axis=0)

    good = total > 0  # a bad row's is NaN or 0
    tl.store(tokens_ptr + row, tl.where(good, block * BLOCK + inside, -1))
    tl.store(log_probs_ptr + row, tl.where(good, -drawn - tl.log(total), float("nan")))


@triton.jit
def highest_logit(logits_ptr, SIZE: tl.constexpr, TILE: tl.constexpr):
    """NaN if any is: a maximum may pass over it."""
    highest = tl.full((TILE,), float("-inf"), tl.float32)
    broken = tl.zeros((TILE,), tl.float32)
    for start in range(0, SIZE, TILE):
        index = start + tl.arange(0, TILE)
        logit = tl.load(logits_ptr + index, mask=index < SIZE, other=float("-inf")).to(tl.float32)
        highest = tl.maximum(highest, logit)
        broken += tl.where(logit != logit, 1.0, 0.0)
    return tl.where(tl.sum(broken, axis=0) > 0, float("nan"), tl.max(highest, axis=0))


@triton.jit
def gaps(
    logits_ptr, index, highest, limit, last, SIZE: tl.constexpr, PER_TEMPERATURE: tl.constexpr
):
    """(max logit - logit) / temperature; infinity for what top-k drops, NaN in a bad row."""
    logit = tl.load(logits_ptr + index, mask=index < SIZE, other=float("-inf")).to(tl.float32)
    gap = (highest - logit) * PER_TEMPERATURE
    kept = (gap < limit) | ((gap == limit) & (index <= last)) | (gap != gap)
    return tl.where(kept, gap, float("inf"))


@triton.jit
def weights(gap, index, least, until, WIDEST: tl.constexpr):
    """exp(-gap); 0 for what top-p and min-p drop, NaN in a bad row."""
    weight = tl.exp(-gap)
    kept = ((weight > least) | ((weight == least) & (index <= until))) & (gap <= WIDEST)
    return tl.where(kept | (gap != gap), weight, 0.0)


@triton.jit
def top_k_limit(
    logits_ptr,
    highest,
    SIZE: tl.constexpr,
    BITS: tl.constexpr,
    TILE: tl.constexpr,
    PER_TEMPERATURE: tl.constexpr,
    TOP_K: tl.constexpr,
):
    """The k-th gap in rank, found bit by bit, and the index of the last token kept with it."""
    bits = 0
    nearer = 0.0  # tokens
    for i in range(31):
        higher = bits | (1 << (30 - i))
        limit = tl.cast(higher, tl.float32, bitcast=True)
        count = tl.zeros((TILE,), tl.float32)
        for start in range(0, SIZE, TILE):
            index = start + tl.arange(0, TILE)
            gap = gaps(logits_ptr, index, highest, float("inf"), SIZE, SIZE, PER_TEMPERATURE)
            count += tl.where(gap < limit, 1.0, 0.0)
        found = tl.sum(count, axis=0)
        holds = (higher <= INFINITY_BITS) & (found < TOP_K)
        bits = tl.where(holds, higher, bits)
        nearer = tl.where(holds, found, nearer)
    limit = tl.cast(bits, tl.float32, bitcast=True)
    last = last_equal(
        logits_ptr,
        highest,
        float("inf"),
        SIZE,
        limit,
        TOP_K - nearer,
        False,
        SIZE,
        BITS,
        TILE,
        PER_TEMPERATURE,
    )
    return limit, last


@triton.jit
def top_p_limit(
    logits_ptr,
    highest,
    limit,
    last,
    SIZE: tl.constexpr,
    BITS: tl.constexpr,
    TILE: tl.constexpr,
    PER_TEMPERATURE: tl.constexpr,
    TOP_P: tl.constexpr,
):
    """The least weight of the nucleus, and the index of the last token kept with it.

    The search of filters.leading.
    """
    goal = TOP_P * mass_from(logits_ptr, highest, limit, last, 0.0, SIZE, TILE, PER_TEMPERATURE)
    bits = 0
    above = 0.0  # the mass of weights above those bits
    for i in range(30):
        higher = bits | (1 << (29 - i))
        least = tl.cast(higher, tl.float32, bitcast=True)
        mass = mass_from(logits_ptr, highest, limit, last, least, SIZE, TILE, PER_TEMPERATURE)
        bits = tl.where(mass >= goal, higher, bits)
        above = tl.where(mass >= goal, above, mass)
    least = tl.cast(bits, tl.float32, bitcast=True)
    until = last_equal(
        logits_ptr,
        highest,
        limit,
        last,
        least,
        tl.ceil((goal - above) / least),
        True,
        SIZE,
        BITS,
        TILE,
        PER_TEMPERATURE,
    )
    return least, until


@triton.jit
def mass_from(
    logits_ptr,
    highest,
    limit,
    last,
    least,
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
    PER_TEMPERATURE: tl.constexpr,
):
    """The sum of weights that are `least` or more."""
    mass = tl.zeros((TILE,), tl.float32)
    for start in range(0, SIZE, TILE):
        index = start + tl.arange(0, TILE)
        gap = gaps(logits_ptr, index, highest, limit, last, SIZE, PER_TEMPERATURE)
        weight = tl.exp(-gap)
        mass += tl.where(weight >= least, weight, 0.0)
    return tl.sum(mass, axis=0)


@triton.jit
def last_equal(
    logits_ptr,
    highest,
    limit,
    last,
    value,
    needed,
    BY_WEIGHT: tl.constexpr,
    SIZE: tl.constexpr,
    BITS: tl.constexpr,
    TILE: tl.constexpr,
    PER_TEMPERATURE: tl.constexpr,
):
    """The index of the `needed`th token whose gap or weight is `value`, or a later one if all are.

    Few rows have a tie to split: the rest look once, over the whole row.
    """
    found = 0
    step = 0
    steps = 1
    while step < steps:
        until = tl.where(step == 0, SIZE, found | ((1 << BITS) >> step))
        count = tl.zeros((TILE,), tl.float32)
        for start in range(0, SIZE, TILE):
            index = start + tl.arange(0, TILE)
            gap = gaps(logits_ptr, index, highest, limit, last, SIZE, PER_TEMPERATURE)
            same = (tl.exp(-gap) if BY_WEIGHT else gap) == value
            count += tl.where(same & (index < until), 1.0, 0.0)
        counted = tl.sum(count, axis=0)
        steps = tl.where((step == 0) & (counted > needed), BITS + 1, steps)
        found = tl.where((step > 0) & (counted < needed), until, found)
        step += 1
    return tl.where(steps == 1, SIZE, found)
