"""Time the kernels of exported networks with the runtimes' profilers."""
import copy
import json
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..benchmark.backends import onnx_bytes, onnx_session, openvino_model
from ..benchmark.options import Options
from ..deployment.bn_folding import fold_batch_norms
from ..utils.imports import need
from .kernel_profile import Kernel, enclosing

# Types of ONNX, and what ONNX Runtime makes of them.
ONNX_PRODUCTS = ('Conv', 'FusedConv', 'ConvTranspose', 'MatMul', 'FusedMatMul',
                 'Gemm', 'FusedGemm')
OPENVINO_PRODUCTS = ('Convolution', 'GroupConvolution', 'Deconvolution',
                     'ConvolutionBackpropData', 'MatMul', 'FullyConnected',
                     'GroupConvolutionBackpropData',
                     'ScaledDotProductAttention')
# Operators of torch that OpenVINO makes such kernels of.
TORCH_PRODUCTS = re.compile(
    r'aten::(_?conv|linear|matmul|b?mm|b?addb?mm|einsum|scaled_dot)')


class OnnxKernels:
    """Times the kernels of ONNX Runtime."""

    def __init__(self, network: nn.Module, images: Tensor, options: Options):
        self._names = [name for name, _ in network.named_modules()]
        self._folder = tempfile.TemporaryDirectory()
        file = onnx_bytes(network, images)
        graph = need('onnx', 'onnx').load_from_string(file).graph
        self._nodes = {node.name: node for node in graph.node}
        self._makers = {output: node.name for node in graph.node
                        for output in node.output}
        self._session = onnx_session(
            file, options, profile=str(Path(self._folder.name, 'profile')))
        self._images = images.cpu().numpy()
        self._calls = self._skipped = 0

    def __call__(self) -> None:
        """Run the network once."""
        self._session.run(None, {'images': self._images})
        self._calls += 1

    def forget(self) -> None:
        """Discard the measurements of the warm-up."""
        self._skipped = self._calls

    def kernels(self) -> list[Kernel]:
        """All kernels, in the order in which they run; ends the session."""
        events = json.loads(Path(self._session.end_profiling()).read_text())
        self._folder.cleanup()
        seconds: dict[tuple[str, str], list[float]] = {}
        for event in sorted((event for event in events
                             if event['name'].endswith('_kernel_time')),
                            key=lambda event: event['ts']):
            key = (event['name'].removesuffix('_kernel_time'),
                   event['args']['op_name'])
            seconds.setdefault(key, []).append(1e-6 * event['dur'])
        sources = {name: self._source(name) for name, _ in seconds}
        ends = set(filter(None, sources.values()))
        return [self._kernel(kind, sources[name], ends, spent[self._skipped:])
                for (name, kind), spent in seconds.items()]

    def _kernel(self, kind: str, source: str | None, ends: set[str],
                seconds: list[float]) -> Kernel:
        multiplies = kind in ONNX_PRODUCTS
        nodes = [source] if source else []
        if source and multiplies:
            nodes = self._products(source, ends) or nodes
        # From "/model", which wraps the network, to the operator.
        layers = [enclosing(self._names, node.split('/')[2:-1])
                  for node in nodes]
        return Kernel(kind, tuple(dict.fromkeys(layers)), multiplies, seconds)

    def _source(self, name: str) -> str | None:
        """The exported node whose name, or output, is in a kernel's name."""
        named = [(known, node.name) for node in self._nodes.values()
                 for known in (node.name, *node.output)
                 # Outputs of the network have numbers, and so do kernels.
                 if known and (known in name if not known.isdigit()
                               else known == name.partition('_')[0])]
        # input.28 contains input.2, too.
        return max(named, key=lambda pair: len(pair[0]),
                   default=(None, None))[1]

    def _products(self, source: str, ends: set[str]) -> list[str]:
        """The products between the ends of other kernels and this end."""
        found, left, seen = [], [source], {source}
        while left:
            node = self._nodes[left.pop()]
            if node.op_type in ONNX_PRODUCTS:
                found.append(node.name)
                continue
            before = {self._makers[name] for name in node.input
                      if name in self._makers} - ends - seen
            left += before
            seen |= before
        return found


class OpenVinoKernels:
    """Times the kernels of OpenVINO.

    It reports means of all calls so far in whole microseconds; shorter
    kernels take 0.
    """

    def __init__(self, network: nn.Module, images: Tensor, options: Options):
        network = copy.deepcopy(network).float()
        # OpenVINO would fold them, too, but lose the names of convolutions.
        fold_batch_norms(network, images.float())
        compiled = openvino_model(network, images, options, PERF_COUNT=True)
        self._ops = {op.get_friendly_name(): op for op in
                     compiled.get_runtime_model().get_ordered_ops()}
        self._request = compiled.create_infer_request()
        self._images = images.float().numpy()
        self._calls = self._skipped = 0
        self._before: dict[str, float] = {}

    def __call__(self) -> None:
        """Run the network once."""
        self._request.infer([self._images])
        self._calls += 1

    def forget(self) -> None:
        """Discard the measurements of the warm-up."""
        self._before, self._skipped = self._totals(), self._calls

    def kernels(self) -> list[Kernel]:
        """All kernels, in the order in which they run."""
        kinds = {info.node_name: info.node_type
                 for info in self._request.get_profiling_info()}
        found = []
        for name, total in self._totals().items():
            kernel = self._kernel(name, kinds[name])
            spent = max(0., total - self._before.get(name, 0.))
            kernel.seconds.append(spent / (self._calls - self._skipped))
            found.append(kernel)
        return found

    def _totals(self) -> dict[str, float]:
        """Seconds of each kernel that has run, in all calls."""
        return {info.node_name: self._calls * info.real_time.total_seconds()
                for info in self._request.get_profiling_info()
                if info.status == info.Status.EXECUTED}

    def _kernel(self, name: str, kind: str) -> Kernel:
        op = self._ops.get(name)
        sources = _sources(op)
        products = [source for source in sources
                    if TORCH_PRODUCTS.search(source)]
        multiplies = kind in OPENVINO_PRODUCTS or (
            kind == 'Subgraph' and bool(products))
        while multiplies and not sources and op is not None:
            # Decomposed attention is named after its last part.
            op = _reader(op)
            sources = products = _sources(op)
        return Kernel(kind, _layers(multiplies and products or sources),
                      multiplies)


def _sources(op: Any) -> list[str]:
    """The operators of torch in a kernel."""
    if op is None or 'originalLayersNames' not in op.get_rt_info():
        return []
    names = op.get_rt_info()['originalLayersNames'].astype(str)
    return [name for name in names.split(',')
            if name.startswith('__module.model')]


def _layers(sources: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(
        source.partition('/')[0].removeprefix('__module.model').lstrip('.')
        for source in sources))


def _reader(op: Any) -> Any:
    """The kernel that reads the output of another kernel."""
    readers = op.output(0).get_target_inputs() if op.get_output_size() else ()
    return next(iter(readers)).get_node() if readers else None
