"""The trips of Triton's loops and the instructions that they make, on code with known answers."""

import pytest

from kernels.compilers.loops import issued, trips

# Blocks of 64 of 256 queries: program p walks over keys 0 to 64 p, then over one block of its own.
CAUSAL = """
  tt.func public @kernel(%q: !tt.ptr<bf16>) {
    %c4 = arith.constant 4 : i32 loc(#loc)
    %c0 = arith.constant 0 : i32 loc(#loc)
    %c64 = arith.constant 64 : i32 loc(#loc)
    %program = tt.get_program_id x : i32 loc(#loc1)
    %block = arith.remsi %program, %c4 : i32 loc(#loc2)
    %first = arith.muli %block, %c64 : i32 loc(#loc3)
    %last = arith.addi %first, %c64 : i32 loc(#loc3)
    %x = scf.for %j = %c0 to %first step %c64 iter_args(%y = %z) -> (tensor<64xf32>)  : i32 {
      %two = scf.for %g = %c0 to %c4 step %c4 iter_args(%y = %z) -> (f32)  : i32 {
      } loc(#loc)
    } loc(#loc)
    %w = scf.for %j = %first to %last step %c64 iter_args(%y = %z) -> (tensor<64xf32>)  : i32 {
    } loc(#loc)
"""
# A limit that is read from memory is taken not to bind.
LENGTHS = """
    %c0_i32 = arith.constant 0 : i32
    %c256_i32 = arith.constant 256 : i32
    %c32_i32 = arith.constant 32 : i32
    %length = tt.load %lengths : !tt.ptr<i32>
    %stop = arith.minsi %length, %c256_i32 : i32
    %x = scf.for %j = %c0_i32 to %stop step %c32_i32 -> (f32)  : i32 {
    }
    %y = scf.for %j = %c0_i32 to %length step %c32_i32 -> (f32)  : i32 {
    }
"""


def test_the_mean_program_of_a_causal_kernel():
    assert trips(CAUSAL, (8,)) == [1.5, 1.5, 1.0]


def test_limits_from_memory():
    assert trips(LENGTHS, (3,)) == [8.0, 1.0]


@pytest.mark.parametrize(
    ("loops", "expected"),
    [
        ([(10, 29), (12, 21), (50, 59)], 70 + 1.5 * 20 + 10),  # each its own
        ([(10, 29), (12, 21)], 80 + 1.5 * 20),  # the one that runs once became straight code
        ([(10, 29), (12, 21), (50, 59), (70, 71)], 70 + 1.5 * 20 + 10),  # the assembler's own
        ([(10, 29)], 80 + 1.5 * 20),  # fewer than known: the most trips
    ],
)
def test_instructions_times_trips(loops, expected):
    assert issued(100, loops, trips(CAUSAL, (8,))) == expected
