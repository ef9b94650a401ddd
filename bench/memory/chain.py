"""A chain of FFN layers trained with fewer activations in memory: what isn't kept is computed again.

Checkpointing after Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016): the layers are cut into
segments of k. The forward pass keeps each segment's input alone; the backward pass computes a segment's activations
again before it needs them. The last segment is kept whole: it is needed at once. A layer is y = x + GELU(x W1) W2, with
Hendrycks and Gimpel's GELU(u) = u sigmoid(1.702 u).
"""

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

import kernels
from bench.errors import BadInput
from bench.host.placement import isa_in_use
from bench.host.sysfs import available_memory_bytes
from bench.memory.sizes import Disagreement, Sizes
from kernels.arrays import Scratch, aligned_empty
from kernels.verify import check

SIGMOID = 1.702
PER_ARRAY = 512  # bytes that an array takes beside its elements: two objects and the alignment
PYTHON = 32 << 10  # bytes that Python itself allocates on the way


class Arena:
    """Hands out f32 arrays and counts the bytes that are out: `held` now, `peak` at most; `arrays` in all.

    What is released is handed out again: pages are mapped and cleared once, not in every step, where that took as long
    as computing a layer again. Not so where `traced`: there NumPy allocates, and tracemalloc sees what it holds.
    """

    def __init__(self, traced: bool = False) -> None:
        self.traced = traced
        self.held = self.peak = self.arrays = 0
        self._free: dict[int, list[np.ndarray]] = {}

    def take(self, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        free = self._free.get(size)
        array = free.pop() if free else np.empty(size, np.float32) if self.traced else aligned_empty(size, np.float32)
        self.held += array.nbytes
        self.peak = max(self.peak, self.held)
        self.arrays += 1
        return array.reshape(shape)

    def release(self, *arrays: np.ndarray) -> None:
        """The caller must drop them, too: the next take() may return them, and tracemalloc sees who doesn't."""
        self.held -= sum(array.nbytes for array in arrays)
        if not self.traced:
            for array in arrays:
                self._free.setdefault(array.size, []).append(array.reshape(-1))

    def restart(self) -> None:
        """Counts a new step."""
        self.held = self.peak = self.arrays = 0


class Chain:
    """Weights, their gradients and one input; step() runs forward and backward. Weights are held in both orders.

    Raises BadInput where that, with all activations, doesn't fit into memory, and as isa_in_use().
    """

    def __init__(self, sizes: Sizes, threads: int, seed: int = 1604) -> None:
        self.sizes, self.threads = sizes, threads
        self.arena, self._scratch = Arena(), Scratch()
        self._gemm = kernels.find("gemm", "f32", "c", isa_in_use())
        needed, free = sizes.fixed_bytes + sizes.peak_bytes(sizes.layers), available_memory_bytes()
        if free is not None and needed > free:
            raise BadInput(f"the chain takes {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are available")
        random = np.random.default_rng(seed)

        def normal(rows: int, columns: int) -> np.ndarray:
            array = aligned_empty((rows, columns), np.float32)
            array[...] = random.standard_normal((rows, columns), dtype=np.float32)
            return array

        n, d, f = sizes.layers, sizes.width, sizes.ffn
        self.input = normal(sizes.rows, d)
        self.up = [normal(d, f) * np.float32(d**-0.5) for _ in range(n)]
        self.down = [normal(f, d) * np.float32((n * f) ** -0.5) for _ in range(n)]  # so that y stays as large as x
        self.up_t = [np.ascontiguousarray(w.T) for w in self.up]
        self.down_t = [np.ascontiguousarray(w.T) for w in self.down]
        self.up_gradient = [np.zeros_like(w) for w in self.up]
        self.down_gradient = [np.zeros_like(w) for w in self.down]
        self.input_gradient = np.zeros_like(self.input)

    def _multiply(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        with self._scratch:
            call = self._gemm.bind(a, b, out=out, threads=self.threads)
        call()

    def products(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The operands of a layer's six products, on random activations: the shapes of the whole step."""
        x, u = self.input, aligned_empty((self.sizes.rows, self.sizes.ffn), np.float32)
        u[...] = np.random.default_rng(0).standard_normal(u.shape, dtype=np.float32)
        for a, b in ((x, self.up[0]), (u, self.down[0]), (u.T, x), (x, self.down_t[0]), (x.T, u), (u, self.up_t[0])):
            yield np.ascontiguousarray(a), b

    def check(self) -> None:
        """Checks the kernel on these shapes; from then on it has its workspace.

        Raises WrongResult where a product is farther from float64's than rounding allows.
        """
        for a, b in self.products():
            out = aligned_empty((a.shape[0], b.shape[1]), np.float32)
            self._multiply(a, b, out)
            check("gemm", "f32", [a, b], out)

    def _forward(self, i: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Layer i: what it keeps beside x, u = x W1 and g = GELU(u), and its result."""
        u = self.arena.take(self.sizes.rows, self.sizes.ffn)
        self._multiply(x, self.up[i], u)
        g = self.arena.take(*u.shape)
        _sigmoid(u, g)
        g *= u
        y = self.arena.take(*x.shape)
        self._multiply(g, self.down[i], y)
        y += x
        return u, g, y

    def _backward(self, i: int, x: np.ndarray, u: np.ndarray, g: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Layer i: stores its weights' gradients, returns that of x; overwrites u. GELU' = s (1 + 1.702 (u - g))."""
        arena = self.arena
        t = arena.take(g.shape[1], g.shape[0])
        t[...] = g.T
        self._multiply(t, dy, self.down_gradient[i])
        arena.release(t)
        del t
        du = arena.take(*u.shape)
        self._multiply(dy, self.down_t[i], du)
        s = arena.take(*u.shape)
        _sigmoid(u, s)
        u -= g
        u *= np.float32(SIGMOID)
        u += np.float32(1)
        u *= s
        du *= u
        arena.release(s)
        del s
        t = arena.take(x.shape[1], x.shape[0])
        t[...] = x.T
        self._multiply(t, du, self.up_gradient[i])
        arena.release(t)
        del t
        dx = arena.take(*x.shape)
        self._multiply(du, self.up_t[i], dx)
        dx += dy
        arena.release(du)
        return dx

    def step(self, interval: int) -> None:
        """Forward and backward pass of the loss |y|^2 / 2; the first segment is shorter where k doesn't divide n.

        Leaves all gradients and, in arena.peak, the most bytes that were held.
        """
        n, arena = self.sizes.layers, self.arena
        arena.restart()
        x = arena.take(*self.input.shape)
        x[...] = self.input
        inputs: list[np.ndarray] = []  # of the segments before the last
        last = n - interval
        for i in range(last):
            if (n - i) % interval == 0 or i == 0:
                inputs.append(x)
            u, g, y = self._forward(i, x)
            arena.release(u, g)
            if inputs[-1] is not x:
                arena.release(x)
            x = y
            del u, g, y
        end, gradient = n, None
        while end:
            begin = max(0, end - interval)
            if end < n:
                x = inputs.pop()
            kept = []
            for i in range(begin, end):
                u, g, y = self._forward(i, x)
                kept.append((x, u, g))
                x = y
                del u, g, y
            if gradient is None:
                gradient = x  # of |y|^2 / 2 by y
            else:
                arena.release(x)
            del x
            for i in reversed(range(begin, end)):
                x, u, g = kept.pop()
                before = gradient
                gradient = self._backward(i, x, u, g, before)
                arena.release(x, u, g, before)
                del x, u, g, before
            end = begin
        assert gradient is not None
        self.input_gradient[...] = gradient
        arena.release(gradient)
        assert arena.held == 0

    def digest(self) -> str:
        """SHA-256 of all gradients: equal for equal bits."""
        found = hashlib.sha256()
        for array in [*self.up_gradient, *self.down_gradient, self.input_gradient]:
            found.update(array.data)
        return found.hexdigest()


def _sigmoid(u: np.ndarray, out: np.ndarray) -> None:
    """1 / (1 + exp(-1.702 u)), by the tangent: it can't overflow."""
    np.multiply(u, np.float32(SIGMOID / 2), out=out)
    np.tanh(out, out=out)
    out *= np.float32(0.5)
    out += np.float32(0.5)


def traced_bytes(call: Callable[[], object]) -> int:
    """The most bytes that a call allocates and holds, by tracemalloc, to which NumPy reports."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def account(chain: Chain, intervals: Sequence[int]) -> dict[int, tuple[int, int]]:
    """interval -> (peak bytes of the arena, peak bytes by tracemalloc), of a step that is traced and one that is not.

    Raises Disagreement where gradients differ in any bit between intervals, or the two counts by more than what arrays
    and calls cost in Python. WrongResult as Chain.check().
    """
    chain.check()
    found, digests, reused = {}, {}, chain.arena
    for interval in intervals:
        chain.arena = arena = Arena(traced=True)
        traced = traced_bytes(partial(chain.step, interval))
        chain.arena = reused
        if not arena.peak <= traced <= arena.peak + PER_ARRAY * arena.arrays + PYTHON:
            raise Disagreement(f"interval {interval}: {arena.peak} bytes were counted, tracemalloc saw {traced}")
        digests[interval, "as traced"] = chain.digest()
        chain.step(interval)
        if reused.peak != arena.peak:
            raise Disagreement(f"interval {interval}: {arena.peak} bytes were counted, then {reused.peak}")
        found[interval], digests[interval, "as timed"] = (arena.peak, traced), chain.digest()
    if len(set(digests.values())) > 1:
        raise Disagreement(f"gradients differ between the intervals {', '.join(map(str, intervals))}")
    return found
