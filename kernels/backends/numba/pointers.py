"""Pointers in Python that Numba compiles: addresses, offsets, a vector's lanes."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.emit import Emitter
from kernels.backends.numba.target import VECTOR_BYTES


@intrinsic
def pointer(typing, like, address):
    """An address as a pointer."""

    def emit(context, builder, signature, args):
        return builder.inttoptr(args[1], args[0].type)

    return like(like, types.int64), emit


@intrinsic
def at(typing, pointer, offset):
    """The pointer to pointer[offset]."""
    return pointer(pointer, types.int64), lambda context, builder, signature, args: builder.gep(args[0], [args[1]])


@intrinsic
def address(typing, pointer):
    """A pointer as a number."""

    def emit(context, builder, signature, args):
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(pointer), emit


@intrinsic
def lanes_of(typing, pointer):
    """Elements of a vector."""

    def emit(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), VECTOR_BYTES * 8 // signature.args[0].dtype.bitwidth)

    return types.int64(pointer), emit


@intrinsic
def zero(typing, pointer):
    """0 of the element type."""
    return pointer.dtype(pointer), lambda context, builder, signature, args: ir.Constant(args[0].type.pointee, 0)


@intrinsic
def prefetch(typing, pointer):
    """Prefetches a cache line into L2."""

    def emit(context, builder, signature, args):
        Emitter(context, builder, signature.args[0].dtype).prefetch(args[0])
        return context.get_dummy_value()

    return types.void(pointer), emit


@intrinsic
def not_vectorised(typing):
    """No instruction, but it keeps the loop around it scalar: vectors would compile longer, or be another step."""

    def emit(context, builder, signature, args):
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", (), side_effect=True)
        return context.get_dummy_value()

    return types.void(), emit
