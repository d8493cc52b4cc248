"""Time the kernels of compiled networks with torch's profiler."""
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import torch
import torch._inductor.config
from torch import Tensor, fx, nn
from torch._inductor import debug, list_mode_options
from torch._inductor.graph import GraphLowering
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from ..benchmark.options import DTYPES, Options
from ..errors import UserError
from .kernel_profile import Kernel

PRODUCTS = re.compile(
    r'conv|^b?(add)?b?mm\.|^(_mkl)?_?linear|scaled_dot_product|attention')
# In the code that inductor writes: kernel and number, and the call.
CALLS = re.compile(r'\[Provenance debug handles\] (\S+:\d+)\n(.*)')
# Loops that inductor wrote itself: they prepare inputs of products.
LOOPS = 'cpp_fused'


class _Origins:
    """Finds the layers of the kernels of a compiled graph.

    Inductor's notes are not enough: fused operators have the name of the last
    one, and a convolution may have that of its activation, or of an operator
    that writes to its output. Weights identify the layers.
    """

    def __init__(self) -> None:
        self._layers: dict[str, str] = {}
        self._products: set[str] = set()
        # By the names of the weights.
        self._owners: dict[str, str] = {}

    def before(self, graph: fx.Graph) -> None:
        """Read the operators before they are fused."""
        # Names may repeat in another graph.
        for known in (self._layers, self._products, self._owners):
            known.clear()
        for node in graph.nodes:
            weight, layer = _weight(node), _layer(node)
            if _is_product(node) and weight and layer is not None:
                self._owners[weight] = layer

    def after(self, graph: fx.Graph) -> None:
        """Read the operators after they are fused."""
        for node in graph.nodes:
            weight = _weight(node)
            layer = self._owners.get(weight) or _layer(node)
            # Layers share constants.
            if layer is not None and node.all_input_nodes:
                self._layers[node.name] = layer
            if weight in self._owners or _is_product(node):
                self._products.add(node.name)

    def kernel(self, name: str, call: str, nodes: Collection[str]) -> Kernel:
        """The kernel that inductor made of some operators."""
        kind = re.sub(r'_\d+$', '', name)
        owners = [self._owners[word] for word in re.findall(r'\w+', call)
                  if word in self._owners]
        inside = {node: layer for node, layer in self._layers.items()
                  if node in nodes}
        products = [layer for node, layer in inside.items()
                    if node in self._products]
        multiplies = not name.startswith(LOOPS) and bool(owners or products)
        layers = (owners or products) if multiplies else inside.values()
        return Kernel(kind, tuple(dict.fromkeys(layers)), multiplies)


def _weight(node: fx.Node) -> str:
    """The first constant, which is the weight of a convolution."""
    return next((str(source.target) for source in node.all_input_nodes
                 if source.op == 'get_attr'), '')


def _is_product(node: fx.Node) -> bool:
    name = getattr(node.target, '__name__', '')
    return node.op == 'call_function' and bool(PRODUCTS.search(name)) and (
        'reorder' not in name)


def _layer(node: fx.Node) -> str | None:
    stack = node.meta.get('nn_module_stack')
    if not stack:
        return None
    path, _ = list(stack.values())[-1]
    parts = re.sub(r"_modules|[\[\]'\"]", '.', path).split('.')
    # "L", the locals of the compiled function, and "self".
    return '.'.join(list(filter(None, parts))[2:])


def _called(text: str) -> str:
    """The profiler's name for a kernel in inductor's code."""
    parts = text.partition(':')[0].split('.')
    return parts[3] if parts[:2] == ['torch', 'ops'] else parts[-1]


def _seen(event: FunctionEvent) -> str:
    return re.sub(r'^graph_\d+_', '', event.name).rpartition('::')[2]


def _is_outermost(event: FunctionEvent) -> bool:
    around = event.cpu_parent
    return around is None or '::' not in around.name and not re.match(
        r'graph_\d+_', around.name)


class CompiledKernels:
    """Times the kernels of inductor."""

    def __init__(self, network: nn.Module, images: Tensor, options: Options):
        if not hasattr(torch._inductor.config.trace,
                       'provenance_tracking_level'):
            raise UserError('this torch does not report the origin of its '
                            'compiled kernels; use a newer one, or omit '
                            '--compile')
        self._images, self._options = images, options
        # The C++ wrapper hides kernels.
        self._call = torch.compile(network, dynamic=False, options={
            **list_mode_options(options.compile), 'cpp_wrapper': False,
            'cpp.enable_kernel_profile': True,
            'trace.provenance_tracking_level': 1})
        self._kernels: list[tuple[str, Kernel]] = []
        with self._watched():
            self._run()
        # Kineto would print several lines for each call.
        os.environ.setdefault('KINETO_LOG_LEVEL', '99')

    def _run(self) -> None:
        options = self._options
        cast = (torch.autocast(options.device, DTYPES[options.dtype])
                if options.amp else nullcontext())
        with torch.no_grad(), cast:
            self._call(self._images)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note the kernels of each graph that is compiled."""
        origins = _Origins()

        def note(code: str) -> None:
            made_of = debug._inductor_triton_kernel_to_post_grad_node_info
            self._kernels += [
                (_called(name), origins.kernel(
                    _called(name), call, made_of.get(name, ())))
                for name, call in CALLS.findall(code)]

        with (torch._inductor.config.patch(
                post_grad_custom_pre_pass=origins.before,
                post_grad_custom_post_pass=origins.after,
                # Graphs from the cache would not be read.
                fx_graph_cache=False),
              mock.patch.object(GraphLowering, 'save_output_code', note)):
            yield

    def __call__(self) -> None:
        """Run the network once."""
        with profile(activities=[ProfilerActivity.CPU],
                     acc_events=True) as recorded:
            self._run()
        self._note([event for event in recorded.events()
                    if _is_outermost(event)])

    def _note(self, events: list[FunctionEvent]) -> None:
        left = iter(events)
        for name, kernel in self._kernels:
            for event in left:
                if _seen(event) == name:
                    kernel.seconds.append(1e-6 * event.cpu_time_total)
                    break
            else:
                raise UserError(f'torch does not report when its kernel {name}'
                                ' runs; omit --compile')

    def forget(self) -> None:
        """Discard the measurements of the warm-up."""
        for _, kernel in self._kernels:
            kernel.seconds.clear()

    def kernels(self) -> list[Kernel]:
        """All kernels, in the order in which they run."""
        return [kernel for _, kernel in self._kernels]
